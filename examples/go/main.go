// Finds the pods of a Deployment by DNS, calls each at the port that its SRV record says, and answers those that call.
//
//	peers NAME    NAME is that of the headless Service
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: peers NAME")
		os.Exit(2)
	}
	// The first label of the pod's own name in DNS.
	self, err := os.Hostname()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	listener, err := net.Listen("tcp", ":7000")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go answer(listener, self)
	for {
		fmt.Println(look(os.Args[1], self))
		time.Sleep(5 * time.Second)
	}
}

// answer tells each that calls who we are.
func answer(listener net.Listener, self string) {
	for {
		caller, err := listener.Accept()
		if err != nil {
			continue
		}
		fmt.Fprint(caller, self)
		caller.Close()
	}
}

// look says whom it has reached, by name and port, or why not.
func look(name, self string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// The port's name in the manifest; the final dot keeps the search path out, with which one name costs several questions.
	_, records, err := net.DefaultResolver.LookupSRV(ctx, "peer", "tcp", name+".")
	if err != nil {
		return err.Error()
	}
	reached := []string{}
	for _, record := range records {
		address := net.JoinHostPort(record.Target, fmt.Sprint(record.Port))
		said, err := call(ctx, address)
		// Who answers is who its name says.
		if err == nil && said != self && strings.HasPrefix(record.Target, said+".") {
			reached = append(reached, address)
		}
	}
	sort.Strings(reached)
	return fmt.Sprintf("%s reached %s", self, strings.Join(reached, " "))
}

func call(ctx context.Context, address string) (string, error) {
	var dialer net.Dialer
	peer, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer peer.Close()
	said, err := io.ReadAll(io.LimitReader(peer, 64))
	return string(said), err
}

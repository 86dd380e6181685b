// Looks at metrics, and at what asks for them, as Prometheus does.
//
// Without arguments it reads a page of metrics from standard input and prints what Prometheus's own lint finds in it, a
// line each. It ends with 1 if it found something, and with 2 if the page cannot be read.
//
// With the argument `queries` it does what queries.go says.
package main

import (
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "queries" {
		if err := queries(os.Stdin, os.Stdout); err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
		return
	}
	problems, err := promlint.New(os.Stdin).Lint()
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	for _, problem := range problems {
		fmt.Printf("%s: %s\n", problem.Metric, problem.Text)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}

/* What a libc makes of names: each argument is looked up as most programs look names up, both families at once, and told
   on a line: the name, what getaddrinfo said, the canonical name, and the addresses in order. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

int main(int count, char **names)
{
    for (int number = 1; number < count; number++) {
        struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME };
        struct addrinfo *found = NULL;
        char addresses[512][INET6_ADDRSTRLEN];
        int error = getaddrinfo(names[number], NULL, &hints, &found), held = 0;
        for (struct addrinfo *one = found; one && held < 512; one = one->ai_next) {
            const void *address = one->ai_family == AF_INET
                ? (const void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr
                : (const void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr;
            if (inet_ntop(one->ai_family, address, addresses[held], INET6_ADDRSTRLEN))
                held++;
        }
        qsort(addresses, held, INET6_ADDRSTRLEN, by_text);
        /* Numbers of errors are each libc's own, but these three are told apart by all. */
        const char *told = error == 0 ? "found" : error == EAI_AGAIN ? "again" : error == EAI_FAIL ? "fail" : "none";
        printf("%s %s %s", names[number], told, found && found->ai_canonname ? found->ai_canonname : "-");
        for (int at = 0; at < held; at++)
            printf(" %s", addresses[at]);
        printf("\n");
        if (found)
            freeaddrinfo(found);
    }
    return 0;
}

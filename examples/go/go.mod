module podzone/examples/go

go 1.24

// The program in the sandbox image and in the made-up private image. Only the standard library.
module replicated-proxy-operator.test/hack/pause

go 1.26.0

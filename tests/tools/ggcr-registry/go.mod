module gimg.test/tools/ggcr-registry

go 1.25.6

require github.com/google/go-containerregistry v0.22.1

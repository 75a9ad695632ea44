module gimg.test/tools/decode

go 1.25.0

require github.com/containerd/containerd/v2 v2.2.9

require (
	github.com/containerd/log v0.1.0 // indirect
	github.com/klauspost/compress v1.18.5 // indirect
	github.com/sirupsen/logrus v1.9.3 // indirect
	golang.org/x/sys v0.46.0 // indirect
)

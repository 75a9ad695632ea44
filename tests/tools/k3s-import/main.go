// k3s-import does to a containerd what K3s does with each archive in its folder of images when it starts or finds a new one
// (k3s, pkg/agent/containerd/containerd.go, preloadFile and retagImages; wharfie, pkg/tarfile): the file's name says how it is
// compressed, every platform is imported, an image is called what the archive calls it, which must be a reference with a tag,
// and gets a second name with its digest. Prints the names.
package main

import (
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/distribution/reference"
	"github.com/klauspost/compress/zstd"
)

func main() {
	log.SetFlags(0)
	address := flag.String("address", "/run/k3s/containerd/containerd.sock", "containerd's socket")
	flag.Parse()
	ctx := namespaces.WithNamespace(context.Background(), "k8s.io")
	client, err := containerd.New(*address)
	if err != nil {
		log.Fatal(err)
	}
	for _, path := range flag.Args() {
		if err := preload(ctx, client, path); err != nil {
			log.Fatalf("%s: %v", path, err)
		}
	}
}

func preload(ctx context.Context, client *containerd.Client, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	archive, err := plain(path, file)
	if err != nil {
		return err
	}
	images, err := client.Import(ctx, archive, containerd.WithAllPlatforms(true), containerd.WithSkipMissing())
	if err != nil {
		return err
	}
	if len(images) == 0 {
		return fmt.Errorf("no image in it has a name")
	}
	for _, image := range images {
		named, err := reference.ParseNormalizedNamed(image.Name)
		if err != nil {
			return err
		}
		tagged, ok := named.(reference.NamedTagged)
		if !ok {
			return fmt.Errorf("%s has no tag", image.Name)
		}
		fmt.Println(image.Name)
		image.Name = tagged.Name() + "@" + image.Target.Digest.String()
		if _, err := client.ImageService().Create(ctx, image); err != nil {
			return err
		}
		fmt.Println(image.Name)
	}
	return nil
}

func plain(path string, file io.Reader) (io.Reader, error) {
	ends := func(suffixes ...string) bool {
		for _, suffix := range suffixes {
			if strings.HasSuffix(strings.ToLower(path), suffix) {
				return true
			}
		}
		return false
	}
	switch {
	case ends(".tar"):
		return file, nil
	case ends(".tar.gz", ".tgz"):
		return gzip.NewReader(file)
	case ends("tar.zst", ".tzst"):
		// No more than this, or small machines would have no memory left.
		return zstd.NewReader(file, zstd.WithDecoderMaxMemory(1<<25))
	}
	return nil, fmt.Errorf("unhandled file type")
}

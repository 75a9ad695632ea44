// decode measures how long containerd takes to decompress layers: by its own package, within the process, one file after
// the other in each round, so that a busy machine is unfair to none. It prints a table in Markdown: of the processor's
// time and of the time that passes the median of all rounds, and in brackets the least and the most; then each file's
// time as a part of the first one's, round by round.
//
//	decode [-rounds N] FILE FILE…
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/pkg/archive/compression"
)

// What one decompression took.
type run struct {
	user, wall float64
}

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 15, "how often each file is decompressed")
	flag.Parse()
	if *rounds < 1 || flag.NArg() == 0 {
		log.Fatal("usage: decode [-rounds N] FILE FILE…")
	}
	// Programs on PATH that containerd would prefer would be measured on this machine only.
	for _, name := range []string{"CONTAINERD_DISABLE_IGZIP", "CONTAINERD_DISABLE_PIGZ"} {
		os.Setenv(name, "1")
	}
	files, runs := flag.Args(), make([][]run, flag.NArg())
	sizes := make([]int64, len(files))
	for round := -1; round < *rounds; round++ {
		for n, file := range files {
			size, took, err := decode(file)
			if err != nil {
				log.Fatalf("%s: %v", file, err)
			}
			sizes[n] = size
			// The first round only warms caches.
			if round >= 0 {
				runs[n] = append(runs[n], took)
			}
		}
	}
	fmt.Println("| layer | bytes | plain | user s | wall s | user, of the first | wall, of the first |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for n, file := range files {
		stat, err := os.Stat(file)
		if err != nil {
			log.Fatal(err)
		}
		user := func(r run, _ run) float64 { return r.user }
		wall := func(r run, _ run) float64 { return r.wall }
		fmt.Printf("| %s | %d | %d | %s | %s | %s | %s |\n", filepath.Base(file), stat.Size(), sizes[n],
			spread(runs[n], runs[0], user), spread(runs[n], runs[0], wall),
			spread(runs[n], runs[0], func(r, first run) float64 { return r.user / first.user }),
			spread(runs[n], runs[0], func(r, first run) float64 { return r.wall / first.wall }))
	}
}

// The median, the least and the most of a figure of each round.
func spread(runs, first []run, of func(r, first run) float64) string {
	var all []float64
	for n := range runs {
		all = append(all, of(runs[n], first[n]))
	}
	slices.Sort(all)
	return fmt.Sprintf("%.3f (%.3f–%.3f)", all[len(all)/2], all[0], all[len(all)-1])
}

func decode(path string) (int64, run, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, run{}, err
	}
	defer file.Close()
	start, before := time.Now(), used()
	plain, err := compression.DecompressStream(file)
	if err != nil {
		return 0, run{}, err
	}
	size, err := io.Copy(io.Discard, plain)
	if err != nil {
		return 0, run{}, err
	}
	if err := plain.Close(); err != nil {
		return 0, run{}, err
	}
	return size, run{used() - before, time.Since(start).Seconds()}, nil
}

// The processor's time that this process has used in its own code, in seconds.
func used() float64 {
	var usage syscall.Rusage
	// It can only fail for an argument that there isn't.
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano()).Seconds()
}

// Command hello shows what the image gives a program: its data, certificates, time zones and user.
package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"time"

	"example.com/hello/greet"
)

func main() {
	fmt.Println(greet.Line("hello"), runtime.GOOS+"/"+runtime.GOARCH)
	if len(os.Args) < 2 {
		return
	}
	var err error
	switch os.Args[1] {
	case "data":
		var text []byte
		text, err = os.ReadFile(filepath.Join(os.Getenv("KO_DATA_PATH"), os.Args[2]))
		fmt.Print(string(text))
	case "zone":
		var zone *time.Location
		if zone, err = time.LoadLocation(os.Args[2]); err == nil {
			fmt.Println(time.Unix(0, 0).In(zone).Format(time.RFC3339))
		}
	case "user":
		var u *user.User
		if u, err = user.Lookup(os.Args[2]); err == nil {
			fmt.Println(u.Uid, u.HomeDir)
		}
	case "get":
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{}}}
		var response *http.Response
		if response, err = client.Get(os.Args[2]); err == nil {
			fmt.Println(response.Status)
			response.Body.Close()
		}
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// Command other is a second program of the module.
package main

import (
	"fmt"

	"example.com/hello/greet"
)

func main() { fmt.Println(greet.Line("other")) }

// Package greet is shared by both programs, and isn't one.
package greet

// Version is set by the linker in some tests.
var Version = "dev"

// Line is what a program says.
func Line(name string) string { return "hello from " + name + " " + Version }

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// describeMachine says on what the figures were measured, in lines of Markdown.
func describeMachine(ctx context.Context, dir string, o options, programs []program) string {
	var b strings.Builder
	fmt.Fprintf(&b, "- machine: %s, %d cores, %s of memory\n",
		field("/proc/cpuinfo", "model name"), runtime.NumCPU(), field("/proc/meminfo", "MemTotal"))
	fmt.Fprintf(&b, "- system: %s, Linux %s, %s on the measured disk\n", strings.Trim(field("/etc/os-release", "PRETTY_NAME"), `"`),
		output(ctx, "uname", "-r"), output(ctx, "findmnt", "-n", "-o", "FSTYPE", "-T", dir))
	fmt.Fprintf(&b, "- server: Dovecot %s, over TLS on the loopback address\n", output(ctx, "dovecot", "--version"))
	versions := []string{"popfetchd built by " + runtime.Version()}
	for _, p := range programs {
		if p.version != "" {
			versions = append(versions, p.name+" "+p.version)
		}
	}
	fmt.Fprintf(&b, "- programs: %s\n", strings.Join(versions, ", "))
	if o.scale > 1 {
		fmt.Fprintf(&b, "- scaled down %d times: not to be compared with full runs\n", o.scale)
	}
	return b.String()
}

// output is what a command prints, or "unknown".
func output(ctx context.Context, name string, args ...string) string {
	text, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// field finds the value of a "key: value" or "key=value" line.
func field(path, key string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(strings.TrimLeft(rest, " \t:="))
		}
	}
	return "unknown"
}

// Argo CD's application-controller and repo-server, as far as a test needs them, and a store for both in place of Redis.
// The first argument says which of them runs. All of them listen on 127.0.0.1 only.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alicebob/miniredis/v2"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
)

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) < 2 {
		return fmt.Errorf("usage: %s redis|repo-server|application-controller FLAGS", arguments[0])
	}
	switch program, flags := arguments[1], arguments[2:]; program {
	case "redis":
		return redis(flags)
	case "repo-server":
		command := reposerver.NewCommand()
		command.SetArgs(flags)
		return command.Execute()
	case "application-controller":
		return applicationController(flags)
	default:
		return fmt.Errorf("no program %s", program)
	}
}

// Serves at the address that is the only flag, until the process is ended.
func redis(flags []string) error {
	if len(flags) != 1 {
		return fmt.Errorf("usage: redis ADDRESS")
	}
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(flags[0]); err != nil {
		return err
	}
	defer server.Close()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	<-ended
	return nil
}

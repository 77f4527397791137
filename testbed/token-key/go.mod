module sessionkill.dev/testbed/token-key

go 1.26.0

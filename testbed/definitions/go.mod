// Only marks the module's folder: of each version there is a file that takes this one's place, as in
// go build -modfile=1.37.mod
module sessionkill.dev/testbed/definitions

go 1.26.0

#!/bin/sh
# Runs usdt-gen, or says that it is missing. `usdt-gen init` wrote this file: commit it with the
# package, and change it as your team likes.
#
# In a Go file:  //go:generate sh usdt-gen.sh probes.d
# In a build:    go build -toolexec="sh $PWD/probes/usdt-gen.sh toolexec" -o app .
# The path is absolute because the go command runs tools in different folders.

how='install it from a release (install.sh, .deb or .rpm), or with: cargo install --locked usdt-gen'

if command -v usdt-gen >/dev/null 2>&1; then
	exec usdt-gen "$@"
fi
if [ "${1-}" != toolexec ]; then
	echo "usdt-gen.sh: usdt-gen is not installed; $how" >&2
	exit 127
fi

# Inside `go build`. Programs work without sealing, so the build goes on, with a warning of the
# linker. The go command keeps sealed and unsealed binaries apart in its cache.
shift
case ${1-}:${2-} in
*/link:-V=full) ;; # the go command asks for the version of the linker
*/link:*)
	echo "usdt-gen.sh: usdt-gen is not installed, so the binary is not sealed: only usdt-attach finds its probes" >&2
	echo "usdt-gen.sh: $how; or run \`usdt-gen seal\` on the binary later" >&2
	;;
esac
exec "$@"

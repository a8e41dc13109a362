#!/bin/sh
# Installs usdt-gen and usdt-attach from a release, and removes them again.
# `sh install.sh --help` shows the options.
#
# Everything is inside functions, and the last line calls them: a script that was downloaded only in
# part does nothing.
set -eu
LC_ALL=C
export LC_ALL

# `cargo xtask release --repository URL` writes the URL into the script.
repository=''

usage() {
	cat <<END
Installs usdt-gen and usdt-attach for Linux on amd64 and arm64.

usage: sh install.sh [OPTIONS]
       sh install.sh --uninstall [--prefix DIR]

  --from SOURCE      folder, or https URL of a folder, with the files of a release
                     [default: the folder of this script if it has SHA256SUMS${repository:+,
                     else $repository}]
  --version VERSION  version to install [default: the one that SOURCE has]
  --prefix DIR       folder that receives bin/ and share/ [default: \$PREFIX, else /usr/local]
  --arch ARCH        amd64 or arm64 [default: that of this machine]
  --uninstall        remove what an installation in DIR has created
  --help             show this text

The script downloads the tarball and SHA256SUMS, compares the checksum, and copies the files.
It changes nothing outside of the prefix and never calls sudo.
END
}

say() { printf '%s\n' "$*"; }

fail() {
	printf 'install.sh: %s\n' "$*" >&2
	exit 1
}

# Fails if a program is missing.
need() {
	command -v "$1" >/dev/null 2>&1 || fail "\`$1\` is not installed, and $2 needs it"
}

# Prints the SHA-256 digest of a file.
sha256() {
	if command -v sha256sum >/dev/null 2>&1; then
		digest=$(sha256sum <"$1")
	elif command -v shasum >/dev/null 2>&1; then
		digest=$(shasum -a 256 <"$1")
	else
		fail "neither \`sha256sum\` nor \`shasum\` is installed, and comparing checksums needs one"
	fi
	printf '%s\n' "${digest%% *}"
}

# Copies the file $1 of the release to the file $2.
fetch() {
	case $source in
	https://*)
		say "downloading $source/$1"
		if command -v curl >/dev/null 2>&1; then
			curl --fail --silent --show-error --location --proto '=https' --output "$2" \
				"$source/$1" || fail "cannot download $source/$1"
		elif command -v wget >/dev/null 2>&1; then
			wget -q -O "$2" "$source/$1" || fail "cannot download $source/$1"
		else
			fail "neither \`curl\` nor \`wget\` is installed; download the files and use --from DIR"
		fi
		;;
	*)
		[ -f "$source/$1" ] || fail "no file \`$1\` in $source"
		cp "$source/$1" "$2"
		;;
	esac
}

# Sets `source`, from which `fetch` copies.
choose_source() {
	folder=$(dirname "$0")
	if [ -n "$from" ]; then
		source=${from%/}
	elif [ -f "$folder/SHA256SUMS" ]; then
		source=$folder
	elif [ -z "$repository" ]; then
		fail 'no files of a release next to this script; name their folder or URL with --from'
	elif [ -n "$version" ]; then
		source=$repository/releases/download/v$version
	else
		source=$repository/releases/latest/download
	fi
	case $source in
	https://*) ;;
	*://*) fail "cannot download from \`$source\`: the source is a folder or an https URL" ;;
	*) [ -d "$source" ] || fail "no folder \`$source\`" ;;
	esac
}

# Sets `arch` to the name of this machine's architecture in releases.
choose_architecture() {
	if [ -z "$arch" ]; then
		need uname 'finding the architecture'
		[ "$(uname -s)" = Linux ] || fail "releases are for Linux, and this is $(uname -s)"
		machine=$(uname -m)
		case $machine in
		x86_64 | amd64) arch=amd64 ;;
		aarch64 | arm64) arch=arm64 ;;
		*) fail "no release for the architecture \`$machine\`; build from source, as docs/install.md shows" ;;
		esac
	fi
	case $arch in
	amd64 | arm64) ;;
	*) fail "no release for the architecture \`$arch\`; the architectures are amd64 and arm64" ;;
	esac
}

# Sets `tarball` and `checksum` from the list of checksums, and `version` from the name.
choose_tarball() {
	tarball='' checksum=''
	while read -r digest name; do
		case $name in
		*[!A-Za-z0-9._-]*) ;;
		usdt-go-*-linux-"$arch".tar.gz)
			found=${name#usdt-go-}
			found=${found%-linux-"$arch".tar.gz}
			if [ -z "$version" ] || [ "$version" = "$found" ]; then
				[ -z "$tarball" ] || fail "$source has several versions; choose one with --version"
				tarball=$name checksum=$digest
			fi
			;;
		esac
	done <"$work/SHA256SUMS"
	[ -n "$tarball" ] ||
		fail "SHA256SUMS of $source lists no tarball${version:+ of version $version} for $arch"
	version=${tarball#usdt-go-}
	version=${version%-linux-"$arch".tar.gz}
}

# Creates a folder with its parents, and notes the new ones in the list of installed files.
make_folder() {
	[ ! -d "$prefix/$1" ] || return 0
	case $1 in
	*/*) make_folder "${1%/*}" ;;
	esac
	mkdir "$prefix/$1"
	chmod 755 "$prefix/$1"
	say "folder $1" >>"$work/list"
}

# Removes the files of the list $1 that the list $2 lacks, then the folders, deepest first.
remove_listed() {
	while read -r kind path; do
		case $path in
		/* | ../* | */../* | */.. | .. | '') fail "the list $1 names \`$path\`, which is not below the prefix" ;;
		esac
		if [ "$kind" = file ] && ! grep -qxF "file $path" "$2"; then
			rm -f "$prefix/$path"
		fi
	done <"$1"
	sort -r "$1" | while read -r kind path; do
		if [ "$kind" = folder ] && ! grep -qxF "folder $path" "$2"; then
			# Others may have put files there.
			rmdir "$prefix/$path" 2>/dev/null || :
		fi
	done
}

copy_files() {
	tree=$work/${tarball%.tar.gz}
	[ -d "$tree/bin" ] || fail "$tarball has no folder \`${tarball%.tar.gz}/bin\`"
	mkdir -p "$prefix" 2>/dev/null || :
	[ -w "$prefix" ] ||
		fail "cannot write to $prefix; run the script with sudo, or choose a folder with --prefix"
	: >"$work/list"
	# Folders that an earlier installation has created are still to be removed with this one.
	[ ! -f "$prefix/$list" ] || grep '^folder ' "$prefix/$list" >"$work/list" || :
	(cd "$tree" && find . -type f) | sort >"$work/files"
	while read -r path; do
		path=${path#./}
		make_folder "${path%/*}"
		case $path in
		bin/*) mode=755 ;;
		*) mode=644 ;;
		esac
		# Renaming replaces a program that is running.
		cp "$tree/$path" "$prefix/$path.new"
		chmod "$mode" "$prefix/$path.new"
		mv -f "$prefix/$path.new" "$prefix/$path"
		say "file $path" >>"$work/list"
	done <"$work/files"
	make_folder "${list%/*}"
	say "file $list" >>"$work/list"
	[ ! -f "$prefix/$list" ] || remove_listed "$prefix/$list" "$work/list"
	cp "$work/list" "$prefix/$list"
	chmod 644 "$prefix/$list"
}

# Says what the user may have to do next.
advise() {
	case :$PATH: in
	*":$prefix/bin:"*) ;;
	*) say "note: $prefix/bin is not on your PATH" ;;
	esac
	case $prefix in
	/usr | /usr/local) ;;
	*) say "note: sudo may not search $prefix/bin; run: sudo $prefix/bin/usdt-attach" ;;
	esac
	[ -z "$capabilities" ] ||
		say "note: the new usdt-attach has no capabilities yet; the old one had: $capabilities"
}

install_release() {
	for program in chmod cp dirname find grep gzip mkdir mktemp mv rm rmdir sort tar; do
		need "$program" 'the installation'
	done
	choose_architecture
	choose_source
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	fetch SHA256SUMS "$work/SHA256SUMS"
	choose_tarball
	fetch "$tarball" "$work/$tarball"
	actual=$(sha256 "$work/$tarball")
	[ "$actual" = "$checksum" ] ||
		fail "the checksum of $tarball is $actual instead of $checksum; nothing was installed"
	say "the checksum of $tarball is correct"
	gzip -dc "$work/$tarball" | tar -xf - -C "$work"
	capabilities=''
	if command -v getcap >/dev/null 2>&1 && [ -f "$prefix/bin/usdt-attach" ]; then
		capabilities=$(getcap "$prefix/bin/usdt-attach" 2>/dev/null || :)
		capabilities=${capabilities##* }
	fi
	copy_files
	say "installed usdt-gen and usdt-attach $version ($arch) in $prefix/bin"
	advise
}

uninstall() {
	for program in cp grep mktemp rm rmdir sort; do
		need "$program" 'the removal'
	done
	[ -f "$prefix/$list" ] ||
		fail "no installation of this script in $prefix: there is no file $prefix/$list"
	[ -w "$prefix/bin" ] || fail "cannot write to $prefix/bin; run the script with sudo"
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	cp "$prefix/$list" "$work/old"
	: >"$work/none"
	remove_listed "$work/old" "$work/none"
	say "removed usdt-gen and usdt-attach from $prefix"
}

main() {
	from='' version='' arch='' prefix=${PREFIX:-/usr/local} action=install_release
	# The files and folders of an installation, relative to the prefix.
	list=share/usdt-go/installed
	while [ $# -gt 0 ]; do
		case $1 in
		--from | --version | --prefix | --arch)
			[ $# -ge 2 ] || fail "no value follows \`$1\`"
			case $1 in
			--from) from=$2 ;;
			--version) version=${2#v} ;;
			--prefix) prefix=$2 ;;
			--arch) arch=$2 ;;
			esac
			shift 2
			;;
		--uninstall)
			action=uninstall
			shift
			;;
		--help)
			usage
			exit 0
			;;
		*) fail "unknown option \`$1\`; --help lists the options" ;;
		esac
	done
	case $prefix in
	/*) ;;
	*) prefix=$PWD/$prefix ;;
	esac
	[ "$prefix" = / ] || prefix=${prefix%/}
	$action
}

main "$@"

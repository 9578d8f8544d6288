#!/bin/sh
# Installs what building and testing need on Debian 12: packages only, no service is started or changed.
# Usage: install.sh build | test
set -eu
what=${1:-build}

build="gcc libc6-dev meson ninja-build pkg-config python3 libuv1-dev libssl-dev libc-ares-dev liblmdb-dev libconfuse-dev libjansson-dev
libmicrohttpd-dev libidn2-dev uthash-dev libcrypt-dev libcmocka-dev"
# clients and tools of the tests; Postfix and Exim are unpacked by tests/peers.sh, never installed
test="clang clang-format clang-tidy libclang-rt-14-dev llvm git openssl swaks libnet-ssleay-perl libio-socket-ssl-perl msmtp curl
strace man-db libnss-wrapper python3-dkim libopendkim11 libdb5.3 libicu72 libnsl2 libsasl2-2 libgnutls30 libgnutls-dane0 libidn12 libpcre2-8-0 tzdata
debhelper dh-apparmor fakeroot lintian apparmor"
# large, and one test's alone, which is skipped without it: when it can't be had the others go on
browser="chromium-headless-shell"

missing() {
	for p in "$@"; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || echo "$p"
	done
}

extra=
case $what in
build) want=$(missing $build) ;;
test) want=$(missing $build $test) extra=$(missing $browser) ;;
*) echo "usage: install.sh build | test" >&2; exit 64 ;;
esac
[ -n "$want$extra" ] || exit 0

if [ "$(id -u)" = 0 ]; then as_root=; elif command -v sudo >/dev/null; then as_root=sudo; elif [ -z "$want" ]; then exit 0; else
	echo "These packages are missing, and only root may install them:" $want >&2
	exit 77
fi
install() {
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >/dev/null
}
echo "Installing:" $want $extra
$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null
[ -z "$want" ] || install $want
[ -z "$extra" ] || install $extra || echo "Not installed, its test is skipped:" $extra >&2

#!/bin/sh
# Unpacks Postfix and Exim beside each other, for tests and benchmarks: from Debian's packages, without installing them, so that neither
# becomes the machine's mail system and no service starts. Usage: peers.sh DIRECTORY
set -eu
dir=${1:?usage: peers.sh DIRECTORY}
mkdir -p "$dir"
cd "$dir"
[ -f done ] && exit 0
rm -rf postfix exim ./*.deb
apt-get download -q postfix exim4-daemon-light exim4-base >/dev/null
dpkg -x postfix_*.deb postfix
dpkg -x exim4-base_*.deb exim
dpkg -x exim4-daemon-light_*.deb exim
rm -f ./*.deb
chmod u-s exim/usr/sbin/exim4 # it runs as whoever starts it
touch done

#!/bin/sh
# Unpacks Postfix, Exim and packages with sample messages beside each other, for tests and benchmarks: from Debian's packages, without
# installing them, so that none becomes the machine's mail system and no service starts. Usage: peers.sh DIRECTORY
set -eu
dir=${1:?usage: peers.sh DIRECTORY}
mkdir -p "$dir"
cd "$dir"

if [ ! -f done ]; then
	rm -rf postfix exim ./*.deb
	apt-get download -q postfix exim4-daemon-light exim4-base >/dev/null
	dpkg -x postfix_*.deb postfix
	dpkg -x exim4-base_*.deb exim
	dpkg -x exim4-daemon-light_*.deb exim
	rm -f ./*.deb
	chmod u-s exim/usr/sbin/exim4 # it runs as whoever starts it
	touch done
fi
if [ ! -f done-prometheus ]; then # promtool alone of it is run
	rm -rf prometheus ./*.deb
	apt-get download -q prometheus >/dev/null
	dpkg -x prometheus_*.deb prometheus
	rm -f ./*.deb prometheus/usr/bin/prometheus
	touch done-prometheus
fi
if [ ! -f done-samples ]; then
	rm -rf samples ./*.deb
	apt-get download -q libpython3.11-testsuite golang-github-jhillyerd-enmime-dev >/dev/null
	for package in ./*.deb; do dpkg -x "$package" samples; done
	rm -f ./*.deb
	touch done-samples
fi

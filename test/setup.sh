#!/bin/sh
# Installs with apt what the tests need and this machine lacks; says nothing
# when all is there. Without root it says what to install, and exits with 1.
#
#   test/setup.sh          for make test
#   test/setup.sh bench    for make bench: the programs it compares as well
set -eu

# One line each: Debian package, a file that it installs, what it is for.
needed() {
	cat <<-'END'
		gcc            /usr/bin/gcc           go test -race is linked by it
		libc6-dev      /usr/include/stdlib.h  and against it
		dovecot-pop3d  /usr/lib/dovecot/pop3  the real POP3 server of the end-to-end tests
		dovecot-imapd  /usr/lib/dovecot/imap  its IMAP reads the Maildirs that popfetchd wrote
		strace         /usr/bin/strace        shows the order of system calls
		python3        /usr/bin/python3       its mailbox module opens Maildir and mbox
		mutt           /usr/bin/mutt          flags and deletes what popfetchd stored
		exim4-daemon-light /usr/sbin/exim4    takes the mail that alerts send
		chromium       /usr/bin/chromium      walks through a sign-in, looks at the status page
		debootstrap    /usr/sbin/debootstrap  makes the Debian in which the units are tested
		systemd-container /usr/bin/systemd-nspawn boots it
		lintian        /usr/bin/lintian       what Debian asks of a package
		prometheus     /usr/bin/promtool      judges the metrics and the alert rules of the papers
		man-db         /usr/bin/man           sets the manual pages
		git            /usr/bin/git           packages are built from a commit
	END
	[ "${1-}" = bench ] || return 0
	cat <<-'END'
		mpop           /usr/bin/mpop          peer
		fdm            /usr/bin/fdm           peer
		fetchmail      /usr/bin/fetchmail     peer, delivers by procmail
		procmail       /usr/bin/procmail      for fetchmail
		getmail6       /usr/bin/getmail       peer
	END
}

case "$#:${1-}" in
0: | 1:bench) ;;
*)
	echo "usage: $0 [bench]" >&2
	exit 64
	;;
esac

missing=$(needed "$@" | while read -r package file reason; do
	[ -e "$file" ] || echo "$package"
done)
[ -n "$missing" ] || exit 0
missing=$(echo $missing) # on one line

if [ "$(id -u)" -ne 0 ]; then
	echo "$0: missing; as root run: apt-get install --no-install-recommends $missing" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	echo "$0: no apt-get on this machine; install what Debian calls: $missing" >&2
	exit 1
fi

# The mail servers must not start: tests run them with a configuration of their
# own. invoke-rc.d asks this script, which we leave alone if there is one.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi

export DEBIAN_FRONTEND=noninteractive
echo "$0: installing $missing"
apt-get update -q
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends $missing

#!/bin/sh
# Builds dist/popfetchd_VERSION_ARCH.deb for one of Debian's architectures.
# make deb calls it, with $MAKE, $GO, $VERSION and $SOURCE_DATE_EPOCH. Nothing
# else goes into the package: the same commit gives the same bytes, wherever
# and whenever it is built with the same Go.
set -eu
umask 022
export TZ=UTC LC_ALL=C

# nfpm is a tool of this step alone, and far larger than the program, so that
# go.mod stays without it. Later versions need modules that come from one person's own domain.
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2

arch=$1
case $arch in
amd64 | arm64) goarch=$arch ;;
armhf) goarch=arm ;;
*)
	echo "$0: $arch: want amd64, arm64 or armhf" >&2
	exit 64
	;;
esac

work=dist/$arch
rm -rf "$work"
mkdir -p "$work"
# armhf begins at ARMv7 with Debian and at ARMv6 with Raspberry Pi OS: ARMv6 serves both.
GOOS=linux GOARCH=$goarch GOARM=6 GOAMD64=v1 $MAKE -s program PROGRAM="$work/popfetchd"

root=$work/root
doc=$root/usr/share/doc/popfetchd
$MAKE -s install DESTDIR="$root" PREFIX=/usr PROGRAM="$work/popfetchd"
# Debian's places, where they are not everybody's.
install -d -m 755 "$root/usr/share/zsh" "$root/usr/share/lintian/overrides"
mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
install -m 644 deploy/debian/lintian-overrides "$root/usr/share/lintian/overrides/popfetchd"
install -m 644 deploy/debian/README.Debian "$doc/README.Debian"
mv "$doc/CHANGELOG.md" "$doc/changelog"
$GO run ./deploy/package debchangelog >"$doc/changelog.Debian"
$GO run ./deploy/package debcopyright "linux/$goarch" >"$doc/copyright"
gzip -9n "$doc/changelog" "$doc/changelog.Debian" "$root"/usr/share/man/man*/*
chmod 644 "$doc"/*.gz "$doc/copyright"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

DEB_ARCH=$arch DEB_ROOT=$root DEB_VERSION=$($GO run ./deploy/package debversion)
export DEB_ARCH DEB_ROOT DEB_VERSION
package=dist/popfetchd_${DEB_VERSION}_$arch.deb
GOFLAGS='' $GO run $nfpm package --config deploy/debian/nfpm.yaml --packager deb --target "$package" >"$work/nfpm.log" 2>&1 || {
	cat "$work/nfpm.log" >&2
	exit 1
}
echo "$package"

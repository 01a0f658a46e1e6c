package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// maintainer is who answers for the package.
const maintainer = "The popfetchd authors <popfetchd@users.noreply.github.com>"

var described = regexp.MustCompile(`^v([0-9][0-9A-Za-z.]*?)(?:-([A-Za-z][0-9A-Za-z.]*))?(?:-([0-9]+)-g([0-9a-f]+))?$`)

// debianVersion is the version as dpkg orders it: v1.2.0 becomes 1.2.0-1, the
// fifth commit after it 1.2.0+5.gabcdef1-1, which is later, and v1.3.0-rc1
// 1.3.0~rc1-1, which is before 1.3.0. Without a tag it is 0~date.commit, before
// every release; files that differ from the commit add +dirty.
func debianVersion(version string, date time.Time) string {
	version, dirty := strings.CutSuffix(version, "-dirty")
	parts := described.FindStringSubmatch(version)
	var upstream string
	switch {
	case parts == nil:
		upstream = "0~" + date.UTC().Format("20060102.150405") + "." + regexp.MustCompile(`[^0-9A-Za-z.]+`).ReplaceAllString(version, ".")
	default:
		upstream = parts[1]
		if parts[2] != "" {
			upstream += "~" + parts[2]
		}
		if parts[3] != "" {
			upstream += "+" + parts[3] + ".g" + parts[4]
		}
	}
	if dirty {
		upstream += "+dirty"
	}
	return upstream + "-1"
}

// debianChangelog is what dpkg shows as the changes of the package. Those of the
// program are in CHANGELOG.md.
func debianChangelog(version string, date time.Time) string {
	return fmt.Sprintf("popfetchd (%s) unstable; urgency=medium\n\n  * Built from %s; the changes are in changelog.gz beside this file.\n\n -- %s  %s\n",
		debianVersion(version, date), version, maintainer, date.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
}

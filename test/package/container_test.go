package package_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// directive is what the Containerfile says last in the form of a list.
func directive(t *testing.T, pattern string) []string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/container/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^`+pattern+` (\[.*\])$`).FindAllSubmatch(text, -1)
	if len(all) != 1 {
		t.Fatalf("the Containerfile has %d lines of %s", len(all), pattern)
	}
	var words []string
	if err := json.Unmarshal(all[0][1], &words); err != nil {
		t.Fatal(err)
	}
	return words
}

// imageOf is a folder with what the container holds, made by the commands of the Containerfile.
func imageOf(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/container/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	run := regexp.MustCompile(`(?m)^RUN (mkdir (?:.*\\\n)*.*)$`).FindSubmatch(text)
	if run == nil {
		t.Fatal("the Containerfile makes no image")
	}
	// Whoever comes by another user's number must get through to it.
	image := filepath.Join(filepath.Dir(built(t)), "image")
	if err := os.Chmod(filepath.Dir(image), 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "-c", strings.ReplaceAll(string(run[1]), "/image", image))
	if os.Geteuid() != 0 {
		needed(t, "fakeroot", "fakeroot")
		c = exec.Command("fakeroot", c.Args...)
	}
	c.Dir, c.Env = built(t), surroundings()
	if err := told(c); err != nil {
		t.Fatal(err)
	}
	return image
}

// The papers build the image in the format that has health checks: podman drops them from its own, with a warning alone.
func TestDocumentedBuildKeepsHealthCheck(t *testing.T) {
	for _, name := range []string{"README.md", "deploy/container/Containerfile"} {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		builds := regexp.MustCompile(`podman build .*`).FindAllString(string(text), -1)
		if len(builds) == 0 {
			t.Errorf("%s does not say how to build the image", name)
		}
		for _, build := range builds {
			if !strings.Contains(build, "--format docker") {
				t.Errorf("%s: %s makes an image without its health check", name, build)
			}
		}
	}
}

// In a folder with nothing but the program it does the whole job: no library, shell, time zone or temporary folder is
// missing. The health check of the container works there, and finds out when nothing was fetched for too long.
func TestNothingElseIsNeeded(t *testing.T) {
	image := imageOf(t)
	inside := func(command []string, more ...string) (string, error) {
		args := append([]string{image}, append(command, more...)...)
		c := exec.Command("chroot", append([]string{"--userspec=65532:65532"}, args...)...)
		if os.Geteuid() != 0 {
			c = exec.Command("unshare", append([]string{"--map-root-user", "chroot"}, args...)...)
		}
		c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"} // to find chroot itself
		out, err := c.CombinedOutput()
		return string(out), err
	}
	for _, file := range []string{"etc/ssl/certs/ca-certificates.crt", "copyright"} {
		if info, err := os.Stat(filepath.Join(image, file)); err != nil || info.Size() < 10_000 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	const place = "/var/lib/popfetchd/demo"
	entry := directive(t, "ENTRYPOINT")
	check := directive(t, "HEALTHCHECK .* CMD")
	if out, err := inside(entry, "demo", place); err != nil {
		t.Fatalf("demo: %v\n%s", err, out)
	}
	if out, err := inside(check, "--config", place+"/popfetchd.yaml"); err != nil || out != "" {
		t.Errorf("the health check: %v\n%s", err, out)
	}
	// The demo's server is gone: an account of it that never had a success fails its first run.
	text, err := os.ReadFile(filepath.Join(image, place, "popfetchd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sick := regexp.MustCompile(`(?m)^( *- name: )(\S+)`).ReplaceAll(text, []byte("${1}${2}2"))
	if string(sick) == string(text) {
		t.Fatalf("no accounts to rename in\n%s", text)
	}
	if err := os.WriteFile(filepath.Join(image, place, "sick.yaml"), sick, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := inside(entry, "--config", place+"/sick.yaml", "--once"); err == nil {
		t.Errorf("fetched from a server that is gone:\n%s", out)
	}
	if out, err := inside(check, "--config", place+"/sick.yaml"); err == nil || !strings.Contains(out, "no success yet") {
		t.Errorf("the health check finds nothing: %v\n%s", err, out)
	}
	zone := regexp.MustCompile(`(?m)^schedule: .*$`).ReplaceAll(text, []byte(`schedule: "TZ=Asia/Almaty 0 6 * * *"`))
	if err := os.WriteFile(filepath.Join(image, place, "zone.yaml"), zone, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := inside(entry, "--config", place+"/zone.yaml", "check"); err != nil || !strings.Contains(out, "Asia/Almaty") {
		t.Errorf("a time zone: %v\n%s", err, out)
	}
}

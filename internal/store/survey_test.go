package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// surveyed collects what Survey yields.
func surveyed(t rapid.TB, m Mailbox) (list []Found) {
	t.Helper()
	for found, err := range m.Survey(context.Background()) {
		check(t, err)
		list = append(list, found)
	}
	return list
}

// What a Maildir holds after drawn deeds of ours, of mail readers and of
// others is what Survey yields, and Sum reads it.
func TestSurveyOfMaildirIsTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		dir := must(os.MkdirTemp("", "survey"))(t)
		defer os.RemoveAll(dir)
		o := Options{Account: "test", Hostname: testHost}
		m := must(OpenMaildir(filepath.Join(dir, "box"), o))(t)
		o.Account = "other"
		other := must(OpenMaildir(m.path, o))(t)
		type there struct {
			message Message
			text    string
			torn    bool
		}
		model := make(map[string]there) // by name
		for i := range rapid.IntRange(0, 6).Draw(t, "messages") {
			mail := nasty(100).Draw(t, "mail")
			message := put(t, m, i, mail)[0]
			message.SHA256 = [sha256.Size]byte{}
			x := there{message: message, text: stored(m, mail)}
			name := message.Location.Name
			path := filepath.Join(m.path, "new", name)
			if rapid.Bool().Draw(t, "seen") {
				cur := filepath.Join(m.path, "cur", name+":2,"+rapid.SampledFrom([]string{"", "S", "FRS"}).Draw(t, "flags"))
				check(t, os.Rename(path, cur))
				path = cur
			}
			switch rapid.SampledFrom([]string{"", "", "", "delete", "tear", "twice", "theirs"}).Draw(t, "then") {
			case "delete":
				check(t, os.Remove(path))
				continue
			case "tear":
				x.text, x.torn = x.text[:len(x.text)/2]+"xyz"[:len(x.text)%2], true
				write(t, path, x.text)
				x.torn = int64(len(x.text)) != message.Size
			case "twice":
				check(t, os.Link(path, filepath.Join(m.path, "cur", name+":2,T")))
			case "theirs":
				b := must(other.Begin())(t)
				must(b.Add(NewID("other", "u", 0, i), strings.NewReader(mail)))(t)
				must(b.Commit(context.Background(), nil))(t)
				check(t, b.Discard())
				write(t, filepath.Join(m.path, "new", fmt.Sprintf("1.M%dP3.host,S=3", i)), "of another program")
			}
			model[name] = x
		}
		for _, found := range surveyed(t, m) {
			want, ok := model[found.Location.Name]
			if !ok || found.Message != want.message || (found.Torn != "") != want.torn {
				t.Fatalf("found %+v, want %+v", found, want)
			}
			delete(model, found.Location.Name)
			sum, size, err := found.Sum()
			if err != nil || size != int64(len(want.text)) || sum != sha256.Sum256([]byte(want.text)) {
				t.Fatalf("%s has %d bytes of sum %x, %v", found.Location.Name, size, sum, err)
			}
		}
		if len(model) > 0 {
			t.Fatalf("not found: %+v", model)
		}
	})
}

// A mail reader at work between Survey and Sum.
func TestSumOfMovedMessage(t *testing.T) {
	m := newMaildir(t)
	put(t, m, 0, "mail\r\n")
	found := surveyed(t, m)[0]
	cur := filepath.Join(m.path, "cur", found.Location.Name+":2,S")
	check(t, os.Rename(found.file, cur))
	if sum, size, err := found.Sum(); sum != sha256.Sum256([]byte("mail\n")) || size != 5 || err != nil {
		t.Errorf("Sum returned %x, %d, %v", sum, size, err)
	}
	check(t, os.Remove(cur))
	var local *Error
	if _, _, err := found.Sum(); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &local) {
		t.Errorf("of a removed message Sum said %v", err)
	}
}

// A file that is renamed while a folder is listed is yielded once all the
// same: here each is, right after it was seen.
func TestSurveyWhileMailIsRead(t *testing.T) {
	m := newMaildir(t)
	const count = 50
	put(t, m, 0, make([]string, count)...)
	seen := make(map[ID]int)
	for found, err := range m.Survey(context.Background()) {
		check(t, err)
		seen[found.ID]++
		check(t, os.Rename(found.file, filepath.Join(m.path, "cur", found.Location.Name+":2,S")))
	}
	for i := range count {
		if seen[testID(i)] != 1 {
			t.Errorf("message %d was yielded %d times", i, seen[testID(i)])
		}
	}
}

func TestSurveyOfOddFile(t *testing.T) {
	m := newMaildir(t)
	message := put(t, m, 0, "mail\r\n")[0]
	path := filepath.Join(m.path, "new", message.Location.Name)
	check(t, os.Remove(path))
	check(t, os.Symlink("/etc/passwd", path))
	found := surveyed(t, m)
	if len(found) != 1 || !strings.Contains(found[0].Torn, "no regular file, this is a symbolic link") {
		t.Fatalf("found %+v", found)
	}
	if _, _, err := found[0].Sum(); err == nil {
		t.Error("a link was read")
	}
}

// mboxPiece is a part of a drawn mbox.
type mboxPiece struct {
	text string // as it stands in the file
	mail string // what it says
	torn string // "", "cut off" or "no From_ line"
}

// drawnPieces draws an mbox, in which programs of all kinds had their hands.
func drawnPieces(t *rapid.T) (pieces []mboxPiece) {
	if junk := rapid.SampledFrom([]string{"", "", "\n", "\r\n\n", "junk\n", "junk", "\x00\x00\n\n"}).Draw(t, "before"); junk != "" {
		torn := ""
		if strings.Trim(junk, "\r\n") != "" {
			torn = "no From_ line"
			if !strings.HasSuffix(junk, "\n") {
				junk += "\n"
			}
		}
		pieces = append(pieces, mboxPiece{text: junk, torn: torn})
	}
	for range rapid.IntRange(0, 4).Draw(t, "messages") {
		mail := stored((*Mbox)(nil), nasty(chunkSize+1).Draw(t, "mail"))
		p := mboxPiece{text: "From a@b Thu Jan  1 00:00:00 1970\n" + quoted(mail) + "\n", mail: mail}
		switch rapid.SampledFrom([]string{"", "", "", "line end", "word"}).Draw(t, "cut") {
		case "line end": // a whole line is the last one, and no blank one
			p.mail += "x\n"
			p.text, p.torn = strings.TrimSuffix(p.text, "\n")+"x\n", "cut off"
		case "word": // as a program leaves it that puts a line end before it goes on
			p.mail += "x> From\n"
			p.text, p.torn = strings.TrimSuffix(p.text, "\n")+"x> From\n", "cut off"
		}
		pieces = append(pieces, p)
	}
	if len(pieces) > 0 && pieces[len(pieces)-1].torn == "cut off" && rapid.Bool().Draw(t, "in a line") {
		last := &pieces[len(pieces)-1]
		last.text, last.mail = strings.TrimSuffix(last.text, "\n"), strings.TrimSuffix(last.mail, "\n")
	}
	return pieces
}

// Whatever an mbox holds, Survey yields it piece by piece.
func TestSurveyOfMboxIsTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		dir := must(os.MkdirTemp("", "survey"))(t)
		defer os.RemoveAll(dir)
		m := must(OpenMbox(filepath.Join(dir, "box"), Options{Account: "test", SpoolDir: dir}))(t)
		var data strings.Builder
		var want []Found
		for _, p := range drawnPieces(t) {
			found := Found{Message: Message{Location: Location{Path: m.path, Offset: int64(data.Len()), Length: int64(len(p.text))}}, Torn: p.torn}
			if p.torn != "no From_ line" {
				whole := contentOf(p.mail)
				found.Size, found.SHA256, found.Virtual = whole.Size, whole.SHA256, whole.Virtual
				found.Bare = contentOf(bareOf(p.mail))
			}
			if strings.Trim(p.text, "\r\n") != "" {
				want = append(want, found)
			}
			data.WriteString(p.text)
		}
		write(t, m.path, data.String())
		got := surveyed(t, m)
		if len(got) != len(want) {
			t.Fatalf("found %d pieces, want %d: %+v", len(got), len(want), got)
		}
		for i, found := range got {
			if !strings.Contains(found.Torn, want[i].Torn) || (found.Torn == "") != (want[i].Torn == "") {
				t.Fatalf("piece %d is %q, want %q", i, found.Torn, want[i].Torn)
			}
			if found.Torn = want[i].Torn; found != want[i] {
				t.Fatalf("piece %d is %+v, want %+v", i, found, want[i])
			}
			if sum, size, err := found.Sum(); sum != found.SHA256 || size != found.Size || err != nil {
				t.Fatalf("the sum of %d is %x, %d, %v", i, sum, size, err)
			}
		}
	})
}

// What was stored is found as what it was said to be, among mail of others.
func TestSurveyFindsWhatWasStored(t *testing.T) {
	m := newMbox(t)
	messages := put(t, m, 0, "", "From x\r\n", "Status: RO\r\n\r\n", strings.Repeat("From y\r\n\r\n", chunkSize/4), "no end")
	appendTo(t, m.path, "From a@b Thu Jan  1 00:00 1970 +0100\r\n\r\ntheirs\n\n")
	found := surveyed(t, m)
	if len(found) != len(messages)+1 {
		t.Fatalf("found %d messages", len(found))
	}
	for i, message := range messages {
		message.ID = ID{}
		if found[i].Message != message || found[i].Torn != "" {
			t.Errorf("found %+v, want %+v", found[i], message)
		}
	}
}

func TestSurveyOfNothing(t *testing.T) {
	bothKinds(t, func(t *testing.T, m testMailbox) {
		if found := surveyed(t, m); len(found) > 0 {
			t.Errorf("found %+v", found)
		}
		if left := names(t, filepath.Dir(filepath.Dir(m.Path()))); len(left) > 0 {
			t.Errorf("Survey made %q", left)
		}
	})
}

func TestSurveyCanBeStopped(t *testing.T) {
	bothKinds(t, func(t *testing.T, m testMailbox) {
		put(t, m, 0, "one\r\n", "two\r\n", "three\r\n")
		for found, err := range m.Survey(context.Background()) {
			check(t, err)
			if found.Size == 0 {
				t.Errorf("found %+v", found)
			}
			break
		}
		reason := errors.New("the service stops")
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		var last error
		n := 0
		for _, err := range m.Survey(ctx) {
			cancel(reason)
			last = err
			n++
		}
		if n > 2 || !errors.Is(last, reason) {
			t.Errorf("%d messages came, the last with %v", n, last)
		}
	})
}

// Files by names of others are found by their content, whatever mail readers have added; files by names of ours are not, nor
// is anything that is no file.
func TestRenamed(t *testing.T) {
	m := newMaildir(t)
	messages := put(t, m, 0, "Subject: 0\r\n\r\ntext\r\n", "Status: O\r\nSubject: 1\r\n\r\ntext\r\n")
	wanted := func(sum [32]byte) bool { return sum == messages[0].SHA256 || sum == messages[1].SHA256 }
	if found := must(m.Renamed(t.Context(), wanted))(t); len(found) > 0 {
		t.Errorf("found %v before anything was renamed", found)
	}
	cur := filepath.Join(m.path, "cur")
	write(t, filepath.Join(cur, "0.else:2,S"), "Subject: 0\nStatus: RO\nContent-Length: 5\n\ntext\n")
	write(t, filepath.Join(cur, "1.else"), "Status: O\nSubject: 1\n\ntext\n")
	write(t, filepath.Join(cur, "2.else"), "Subject: 2\n\ntext\n")
	write(t, filepath.Join(cur, ".hidden"), "Subject: 0\n\ntext\n")
	write(t, filepath.Join(cur, ":2,S"), "Subject: 0\n\ntext\n")
	check(t, os.Mkdir(filepath.Join(cur, "folder"), 0o700))
	check(t, os.Symlink("1.else", filepath.Join(cur, "link")))
	found := must(m.Renamed(t.Context(), wanted))(t)
	slices.SortFunc(found, func(a, b Message) int { return strings.Compare(a.Location.Name, b.Location.Name) })
	for i := range messages {
		messages[i].ID, messages[i].Location = ID{}, Location{Path: m.path, Name: fmt.Sprintf("%d.else", i)}
	}
	if !slices.Equal(found, messages) {
		t.Fatalf("found %+v, want %+v", found, messages)
	}
}

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/roff"
)

// manual makes popfetchd.yaml(5) of docs/config.md. A table of keys and the
// list that explains them, which stand one below the other on a screen, become
// one list: a key, its value, default and example, and what is said of it.
func manual(paper, version string, date time.Time) ([]byte, error) {
	blocks, err := parse(paper)
	if err != nil {
		return nil, err
	}
	p := &roff.Page{}
	p.Header("popfetchd.yaml", 5, date, "popfetchd "+version, "File formats")
	p.Section("Name")
	p.Paragraph(roff.Plain("popfetchd.yaml") + ` \- ` + roff.Plain("configuration of popfetchd"))
	if len(blocks) == 0 || blocks[0].kind != heading || blocks[0].level != 1 {
		return nil, fmt.Errorf("the paper does not begin with its title")
	}
	p.Section("Description")
	for i := 1; i < len(blocks); i++ {
		if isKeys(blocks[i]) {
			last, err := keys(p, blocks[i:])
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", blocks[i].line, err)
			}
			i += last
			continue
		}
		set(p, blocks[i])
	}
	p.Section("Files")
	p.Item(roff.Plain("a user's configuration"), roff.Bold("~/.config/popfetchd/popfetchd.yaml"))
	p.Item(roff.Plain("the configuration of the service of the whole machine"), roff.Bold("/etc/popfetchd/popfetchd.yaml"))
	p.Item(roff.Plain("an example with every key"), roff.Bold("/usr/share/doc/popfetchd/examples/popfetchd.yaml"))
	p.Section("See also")
	p.Paragraph(roff.Bold("popfetchd") + "(8)")
	p.Paragraph(roff.Plain("https://github.com/popfetchd/popfetchd"))
	return p.Bytes(), nil
}

// set sets a block that stands for itself.
func set(p *roff.Page, b block) {
	switch b.kind {
	case heading:
		switch b.level {
		case 2:
			p.Section(unmarked(b.text))
		case 3:
			p.Subsection(unmarked(b.text))
		default: // man(7) has two levels
			p.Paragraph(roff.Bold(unmarked(b.text)))
		}
	case paragraph:
		p.Paragraph(inline(b.text))
	case code:
		p.Code(b.text, false)
	case list:
		for _, i := range b.items {
			p.Bullet(i.mark, inline(i.blocks[0].text))
			setMore(p, i.blocks[1:])
		}
	case table:
		for _, row := range b.rows[1:] {
			p.Item(cells(b.rows[0][1:], row[1:]), inline(row[0]))
		}
	}
}

// setMore sets what belongs to the entry of a list before it.
func setMore(p *roff.Page, blocks []block) {
	for _, b := range blocks {
		if b.kind == code {
			p.Code(b.text, true)
		} else {
			p.More(inline(b.text))
		}
	}
}

// cells are the cells of a row behind the first, each with what it is unless
// there is but one.
func cells(head, row []string) roff.Text {
	if len(row) == 1 {
		return inline(row[0])
	}
	var text roff.Text
	for i, cell := range row {
		if cell == "" {
			continue
		}
		if text != "" {
			text += "; "
		}
		text += inline(strings.ToLower(head[i])+": ") + inline(cell)
	}
	return text
}

func isKeys(b block) bool {
	return b.kind == table && slices.Equal(b.rows[0], []string{"Key", "Value", "Default", "Example"})
}

// explained is what begins the explanation of keys.
var explained = regexp.MustCompile(`(?s)^(\*\*[a-z_0-9]+\*\*(?:,\s\*\*[a-z_0-9]+\*\*)*):\s(.*)$`)

// keys sets the table of keys that blocks begin with, each key with what the
// list below says of it, and then what stands between the two. It gives the
// index of the last block that it has set.
func keys(p *roff.Page, blocks []block) (int, error) {
	rows := blocks[0].rows[1:]
	last := 0
	var entries []item
	for i := 1; i < len(blocks) && blocks[i].kind != heading && blocks[i].kind != table; i++ {
		if blocks[i].kind == list && explained.MatchString(blocks[i].items[0].blocks[0].text) {
			last, entries = i, blocks[i].items
			break
		}
	}
	about, err := assigned(rows, entries)
	if err != nil {
		return 0, err
	}
	done := map[int]bool{}
	for i, row := range rows {
		n, found := about[keyOf(row)]
		switch {
		case !found:
			p.Item(keyFacts(row), roff.Bold(keyOf(row)))
		case !done[n]:
			done[n] = true
			together := slices.DeleteFunc(slices.Clone(rows[i:]), func(r []string) bool {
				other, found := about[keyOf(r)]
				return !found || other != n
			})
			setKeys(p, together, entries[n])
		}
	}
	for _, b := range blocks[1:max(last, 1)] {
		set(p, b)
	}
	return last, nil
}

func keyOf(row []string) string { return strings.Trim(row[0], "`") }

// assigned tells for each key which of the entries explains it.
func assigned(rows [][]string, entries []item) (map[string]int, error) {
	about := map[string]int{}
	for n, entry := range entries {
		parts := explained.FindStringSubmatch(entry.blocks[0].text)
		if parts == nil {
			return nil, fmt.Errorf("%q explains no key", entry.blocks[0].text)
		}
		for name := range strings.SplitSeq(strings.Join(strings.Fields(parts[1]), " "), ", ") {
			key := strings.Trim(name, "*:")
			if !slices.ContainsFunc(rows, func(r []string) bool { return keyOf(r) == key }) {
				return nil, fmt.Errorf("%s is explained and not in the table", key)
			}
			about[key] = n
		}
	}
	return about, nil
}

// setKeys sets one key, or several that are explained together.
func setKeys(p *roff.Page, rows [][]string, entry item) {
	if len(rows) == 1 {
		p.Item(keyFacts(rows[0]), roff.Bold(keyOf(rows[0])))
	} else {
		var tags []roff.Text
		for _, row := range rows {
			tags = append(tags, roff.Bold(keyOf(row)))
		}
		p.Item(tags[0]+": "+keyFacts(rows[0]), tags...)
		for i, row := range rows[1:] {
			p.Line(tags[i+1] + ": " + keyFacts(row))
		}
	}
	text := explained.FindStringSubmatch(entry.blocks[0].text)[2]
	p.More(inline(strings.ToUpper(text[:1]) + text[1:]))
	setMore(p, entry.blocks[1:])
}

// keyFacts are the value, default and example of a key in one line.
func keyFacts(row []string) roff.Text {
	text := inline(row[1])
	switch row[2] {
	case "":
	case "required":
		text += "; required"
	default:
		text += "; default: " + inline(row[2])
	}
	if row[3] != "" && row[3] != "see above" && row[3] != "see below" {
		text += "; example: " + inline(row[3])
	}
	return text
}

// spans are what is set otherwise within a paragraph: code, bold, italics,
// links and addresses.
var spans = regexp.MustCompile("`([^`]+)`" + `|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]]+)\]\(([^)\s]+)\)|<(https?:[^>]+)>|\\([*|_#<])`)

// inline sets the text of a paragraph.
func inline(s string) roff.Text {
	var text roff.Text
	for s != "" {
		at := spans.FindStringSubmatchIndex(s)
		if at == nil {
			return text + roff.Plain(s)
		}
		group := func(n int) string {
			if at[2*n] < 0 {
				return ""
			}
			return s[at[2*n]:at[2*n+1]]
		}
		text += roff.Plain(s[:at[0]]) + roff.Bold(group(1)+group(2)) + roff.Italic(group(3))
		text += inline(group(4)) + roff.Plain(group(6)+group(7))
		if to := group(5); strings.Contains(to, "://") || strings.HasSuffix(to, ".md") {
			text += roff.Plain(" (" + strings.TrimPrefix(to, "../") + ")")
		}
		s = s[at[1]:]
	}
	return text
}

// unmarked is the text of a heading without its marks.
func unmarked(s string) string { return strings.NewReplacer("`", "", "*", "").Replace(s) }

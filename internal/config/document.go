package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	// maxFileSize bounds what is read: some thousand accounts fit.
	maxFileSize = 256 << 10
	// maxNodes bounds the values that are looked at, for aliases and merge
	// keys let a small file grow without end.
	maxNodes = 50_000
	// maxMergeDepth bounds merges within merges, which may go in a circle.
	maxMergeDepth = 8
	// maxBlameWork bounds the bytes that are parsed to find a faulty line.
	maxBlameWork = 2 << 20
)

// document returns the root of the file's only YAML document, or nil after
// noting why there is none.
func (p *parser) document(data []byte) *yaml.Node {
	if len(data) > maxFileSize {
		p.fail(0, "", "the file is larger than %d KiB; is it the right one?", maxFileSize>>10)
		return nil
	}
	documents, err := decode(bytes.NewReader(data))
	if err != nil {
		line := faultyLine(data)
		p.fail(line, "", "%s", explainSyntax(err, lineOf(data, line)))
		return nil
	}
	if len(documents) == 0 || isNull(documents[0].Content[0]) {
		p.fail(1, "", "the file is empty; list at least one account under accounts")
		return nil
	}
	if len(documents) > 1 {
		p.fail(documents[1].Line, "", "a second YAML document begins here; remove the --- line or all that follows")
	}
	return documents[0].Content[0]
}

// decode parses the YAML documents of r, up to two. It knows that yaml.v3
// panics on a few malformed inputs instead of reporting them.
func decode(r io.Reader) (documents []*yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	decoder := yaml.NewDecoder(r)
	for len(documents) < 2 {
		var document yaml.Node
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		documents = append(documents, &document)
	}
	return documents, nil
}

// faultyLine returns the number of the line that makes data bad YAML: the one
// after the longest run of lines that is good YAML. The line numbers in
// yaml.v3's own errors are those of the block or quote around the mistake, or
// one off.
func faultyLine(data []byte) int {
	ends := lineEnds(data)
	reader := &lineReader{data: data, ends: ends}
	decode(reader)
	bad := func(lines int) bool {
		_, err := decode(bytes.NewReader(data[:ends[lines-1]]))
		return err != nil
	}
	work := 0
	for n := reader.lines; n > 1; n-- {
		if !bad(n - 1) {
			return n
		}
		if work += ends[n-2]; work > maxBlameWork {
			// Not always the right one in lists and quotes of several lines.
			return 1 + sort.Search(n-1, func(i int) bool { return bad(i + 1) })
		}
	}
	return 1
}

// lineEnds returns where each line ends.
func lineEnds(data []byte) []int {
	var ends []int
	at := 0
	for line := range bytes.Lines(data) {
		at += len(line)
		ends = append(ends, at)
	}
	return ends
}

// lineOf returns a line by its number.
func lineOf(data []byte, number int) []byte {
	for ; number > 1; number-- {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return line
}

// lineReader hands out a line at each Read, so that lines tells how far its
// user got.
type lineReader struct {
	data  []byte
	ends  []int
	lines int // begun to be read
	at    int
}

func (r *lineReader) Read(b []byte) (int, error) {
	if r.at == len(r.data) {
		return 0, io.EOF
	}
	if r.lines == 0 || r.at == r.ends[r.lines-1] {
		r.lines++
	}
	n := copy(b, r.data[r.at:r.ends[r.lines-1]])
	r.at += n
	return n, nil
}

// syntaxAdvice says in our words what yaml.v3's mean, by a part of them. They
// never hold a piece of the file: it might be a password.
var syntaxAdvice = []struct{ part, advice string }{
	{"cannot start any token", "a value that begins with @, % or ` needs quotes, as in schedule: \"@every 15m\""},
	{"alphabetic or numeric", "a value that begins with * or & needs quotes, as in schedule: \"*/5 * * * *\""},
	{"unknown anchor", "there is no &anchor of this *name; put a value that begins with * in quotes"},
	{"mapping values are not allowed", "a colon stands where none can; check the indentation, and put a value that holds \": \" in quotes"},
	{"did not find expected key", "this does not fit the lines before; keys of one account begin in the same column, and a value with quotes or brackets ends with them"},
	{"did not find expected '-'", "this does not fit the list before; each account begins with \"- \" in the same column"},
	{"sequence entries are not allowed", "a list item cannot stand here; begin the list on a line of its own"},
	{"could not find expected ':'", "a key needs a colon and a space after it, as in name: gmail"},
	{"unexpected end of stream", "a quote or bracket that opens here is never closed"},
	{"did not find expected ',' or", "a list in brackets needs commas between its items and a bracket at its end"},
	{"tag", "a value that begins with ! needs quotes"},
	{"UTF-8", "this is not UTF-8 text; save the file as UTF-8"},
	{"control characters", "a control character stands here; remove it"},
	{"escape", "a backslash in double quotes begins an escape; use single quotes"},
}

func explainSyntax(err error, line []byte) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if bytes.ContainsRune(line[:len(line)-len(bytes.TrimLeft(line, " \t"))], '\t') {
		return "a tab stands in the indentation; indent with spaces"
	}
	for _, known := range syntaxAdvice {
		if strings.Contains(text, known.part) {
			return known.advice
		}
	}
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		_, text, _ = strings.Cut(rest, ": ")
	}
	return "this is not YAML: " + text
}

// resolve follows an alias to what its anchor holds.
func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.Tag == "!!null"
}

// pair is a key of a mapping and its value.
type pair struct {
	key   string
	line  int
	value *yaml.Node // never an alias
}

// pairs returns the keys of a mapping and then those that its merge key (<<)
// adds. Keys given twice are noted.
func (p *parser) pairs(path string, mapping *yaml.Node, depth int) []pair {
	var own, merged []pair
	lines := make(map[string]int)
	for i := 0; i+1 < len(mapping.Content) && p.spend(mapping.Line); i += 2 {
		key, value := resolve(mapping.Content[i]), resolve(mapping.Content[i+1])
		line := mapping.Content[i].Line
		switch {
		case key.Kind != yaml.ScalarNode:
			p.fail(line, path, "a key must be a single word")
		case key.Tag == "!!merge":
			merged = append(merged, p.merged(path, line, value, depth+1)...)
		case lines[key.Value] > 0:
			p.fail(line, join(path, key.Value), "given twice, in line %d already; remove one", lines[key.Value])
		default:
			lines[key.Value] = line
			own = append(own, pair{key.Value, line, value})
		}
	}
	for _, m := range merged {
		if lines[m.key] == 0 {
			lines[m.key] = m.line
			own = append(own, m)
		}
	}
	return own
}

// merged returns what a merge key adds: the keys of one mapping, or of a list
// of them, the first of which wins.
func (p *parser) merged(path string, line int, value *yaml.Node, depth int) []pair {
	if depth > maxMergeDepth {
		p.fail(line, path, "merge keys (<<) go more than %d deep; write the keys out", maxMergeDepth)
		return nil
	}
	switch value.Kind {
	case yaml.MappingNode:
		return p.pairs(path, value, depth)
	case yaml.SequenceNode:
		var all []pair
		for _, item := range value.Content {
			if item = resolve(item); item.Kind == yaml.MappingNode {
				all = append(all, p.pairs(path, item, depth)...)
			}
		}
		return all
	}
	p.fail(line, path, "a merge key (<<) takes a mapping, as in <<: *first")
	return nil
}

// spend counts a value that is looked at, and says whether to go on.
func (p *parser) spend(line int) bool {
	p.nodes++
	if p.nodes == maxNodes {
		p.fail(line, "", "the file's aliases expand to more than %d values; write fewer", maxNodes)
	}
	return p.nodes < maxNodes
}

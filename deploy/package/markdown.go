package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// kind is what a block of a paper is.
type kind int

const (
	heading kind = iota
	paragraph
	code
	table
	list
)

// block is a piece of a paper. Which fields count depends on its kind.
type block struct {
	kind  kind
	line  int        // where it begins, from 1
	level int        // of a heading: 1 to 4
	text  string     // of a heading or paragraph, or the code
	rows  [][]string // of a table, the first its head
	items []item     // of a list
}

// item is an entry of a list. What belongs to it are paragraphs and code.
type item struct {
	mark   string // "1." and so on, "" for a dash
	blocks []block
}

var itemStart = regexp.MustCompile(`^(-|[0-9]+\.) +`)

// parse reads the part of Markdown that the papers make use of, and refuses
// what it does not know rather than setting it wrongly.
func parse(text string) ([]block, error) {
	return parseLines(strings.Split(strings.TrimRight(text, "\n"), "\n"), 1)
}

func parseLines(lines []string, first int) ([]block, error) {
	var blocks []block
	for i := 0; i < len(lines); {
		b, n, err := parseBlock(lines[i:])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", first+i, err)
		}
		if n > 1 || lines[i] != "" {
			b.line = first + i
			blocks = append(blocks, b)
		}
		i += n
	}
	return blocks, nil
}

// parseBlock reads one block and tells how many lines it has.
func parseBlock(lines []string) (block, int, error) {
	line := lines[0]
	switch {
	case line == "":
		return block{}, 1, nil
	case strings.HasPrefix(line, "#"):
		marks, title, _ := strings.Cut(line, " ")
		if len(marks) > 4 || strings.Trim(marks, "#") != "" {
			return block{}, 0, fmt.Errorf("%q is no heading of four levels at most", line)
		}
		return block{kind: heading, level: len(marks), text: title}, 1, nil
	case strings.HasPrefix(line, "```"):
		end := slices.Index(lines[1:], "```")
		if end < 0 {
			return block{}, 0, fmt.Errorf("code without an end")
		}
		return block{kind: code, text: strings.Join(lines[1:end+1], "\n")}, end + 2, nil
	case strings.HasPrefix(line, "|"):
		return parseTable(lines)
	case itemStart.MatchString(line):
		return parseList(lines)
	case strings.HasPrefix(line, "<"), strings.HasPrefix(line, ">"), strings.HasPrefix(line, " "), strings.HasPrefix(line, "!"):
		return block{}, 0, fmt.Errorf("%q is no Markdown that this program knows", line)
	}
	n := 1
	for n < len(lines) && lines[n] != "" && !strings.HasPrefix(lines[n], "```") && !strings.HasPrefix(lines[n], "|") && !strings.HasPrefix(lines[n], "#") && !strings.HasPrefix(lines[n], "- ") {
		n++
	}
	return block{kind: paragraph, text: strings.Join(lines[:n], "\n")}, n, nil
}

// parseTable reads a table: a head, a line of dashes, rows.
func parseTable(lines []string) (block, int, error) {
	b := block{kind: table}
	n := 0
	for ; n < len(lines) && strings.HasPrefix(lines[n], "|"); n++ {
		var row []string
		for _, cell := range strings.Split(strings.TrimSuffix(lines[n][1:], "|"), "|") {
			row = append(row, strings.TrimSpace(cell))
		}
		if n > 0 && len(row) != len(b.rows[0]) {
			return block{}, 0, fmt.Errorf("a row of %d cells below a head of %d", len(row), len(b.rows[0]))
		}
		b.rows = append(b.rows, row)
	}
	if n < 3 || strings.Trim(strings.Join(b.rows[1], ""), "-:") != "" {
		return block{}, 0, fmt.Errorf("a table needs a head, a line of dashes and rows")
	}
	b.rows = slices.Delete(b.rows, 1, 2)
	return b, n, nil
}

// parseList reads the entries of a list, one after the other; what belongs to
// an entry is indented as its text is.
func parseList(lines []string) (block, int, error) {
	b := block{kind: list}
	n := 0
	for n < len(lines) && itemStart.MatchString(lines[n]) {
		start := itemStart.FindString(lines[n])
		indent := strings.Repeat(" ", len(start))
		inner := []string{lines[n][len(start):]}
		first := n
		for n++; n < len(lines); n++ {
			more := strings.HasPrefix(lines[n], indent)
			if !more && (lines[n] != "" || n+1 == len(lines) || !strings.HasPrefix(lines[n+1], indent)) {
				break
			}
			inner = append(inner, strings.TrimPrefix(lines[n], indent))
		}
		if n < len(lines) && lines[n] != "" && !itemStart.MatchString(lines[n]) {
			return block{}, 0, fmt.Errorf("%q goes on neither the list nor its entry", lines[n])
		}
		blocks, err := parseLines(inner, first+1)
		if err != nil {
			return block{}, 0, fmt.Errorf("in a list: %w", err)
		}
		for _, inside := range blocks {
			if inside.kind != paragraph && inside.kind != code {
				return block{}, 0, fmt.Errorf("a list of more than paragraphs and code")
			}
		}
		b.items = append(b.items, item{mark: strings.TrimPrefix(strings.TrimSpace(start), "-"), blocks: blocks})
	}
	return b, n, nil
}

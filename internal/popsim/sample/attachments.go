package sample

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// rawLine is how many bytes one line of base64 holds, wireLine how many octets it has.
const (
	rawLine  = 57
	wireLine = 76 + 2
)

// noise yields lines of base64 over head and then bytes of ChaCha8. These are of honest files: rain sounds so, and
// an encrypted archive looks so.
type noise struct {
	head   []byte
	source *rand.ChaCha8
	lines  int64 // still to come
	ready  []byte
	space  [64 * wireLine]byte
	dotted bool // each 64th line begins with a dot instead (and is no base64 then)
}

func newNoise(key byte, head []byte, lines int64) *noise {
	return &noise{head: head, source: rand.NewChaCha8([32]byte{key}), lines: lines}
}

func (n *noise) Read(p []byte) (int, error) {
	if len(n.ready) == 0 {
		if n.lines == 0 {
			return 0, io.EOF
		}
		n.fill()
	}
	k := copy(p, n.ready)
	n.ready = n.ready[k:]
	return k, nil
}

func (n *noise) fill() {
	var raw [64 * rawLine]byte
	count := min(n.lines, 64)
	used := copy(raw[:], n.head)
	n.head = n.head[used:]
	n.source.Read(raw[used : count*rawLine]) // never fails
	for i := range count {
		line := n.space[i*wireLine : (i+1)*wireLine]
		base64.StdEncoding.Encode(line, raw[i*rawLine:(i+1)*rawLine])
		line[76], line[77] = '\r', '\n'
	}
	if n.dotted {
		n.space[0] = '.'
	}
	n.ready = n.space[:count*wireLine]
	n.lines -= count
}

// Large is a message of that many octets (300 at least), made while it is read: text of base64's letters with a dot at
// the start of each 64th line. No two parts of it are alike, so that a lost piece shows.
func Large(octets int64) popsim.Message {
	const head = "From: Long Winded <long@example.com>\r\nTo: " + me + "\r\nSubject: a large message\r\nMessage-ID: <large@example.com>\r\n\r\n"
	lines := (octets - int64(len(head)) - 2) / wireLine
	rest := octets - int64(len(head)) - lines*wireLine
	tail := strings.Repeat("x", int(max(rest-2, 0))) + "\r\n"
	return popsim.Message{
		UID:  fmt.Sprintf("large-%d", octets),
		Size: octets,
		Open: func() io.Reader {
			body := newNoise(1, nil, lines)
			body.dotted = true
			return io.MultiReader(strings.NewReader(head), body, strings.NewReader(tail))
		},
	}
}

// attachment is a file that comes with a letter.
type attachment struct {
	subject, text string
	kind, name    string
	head          []byte // what the file begins with
	size          int64  // of all of it; noise fills it up to whole lines of base64
	key           byte
}

func attachments() []maker {
	all := []maker{
		attachment{subject: "The rain on our roof", text: "You asked what it sounds like up here. Twenty seconds of it.\n",
			kind: "audio/wav", name: "rain.wav", head: wavHead(3_600_000), size: 3_600_000, key: 2}.large(),
		attachment{subject: "Snow on channel 4", text: "The old television still works. It shows this, and nothing else.\n",
			kind: "image/bmp", name: "snow.bmp", head: bmpHead(1280, 1024), size: 54 + 1280*1024*3, key: 3}.large(),
		attachment{subject: "Backup of the choir's scores", text: "Encrypted, as agreed. The passphrase comes by post.\n",
			kind: "application/octet-stream", name: "scores.tar.gz.gpg", size: 4_700_000, key: 4}.large(),
	}
	for i := range 6 {
		all = append(all, picture(i))
	}
	return append(all, invitation, card, table, forwarded)
}

// large is a letter with the attachment, made only while it is read.
func (a attachment) large() maker {
	return func(s slot) popsim.Message {
		d := s.begin("Theo Marsh <theo@example.net>", a.subject)
		boundary := d.multipart("mixed", s)
		d.part(boundary)
		d.typed("text/plain", form{charset: "us-ascii", transfer: "7bit"}, a.text)
		d.part(boundary)
		d.file(a.kind, a.name)
		lines := (a.size + rawLine - 1) / rawLine
		head, tail := d.String(), "\r\n--"+boundary+"--\r\n"
		return popsim.Message{
			Size: int64(len(head)) + lines*wireLine + int64(len(tail)),
			Open: func() io.Reader {
				return io.MultiReader(strings.NewReader(head), newNoise(a.key, a.head, lines), strings.NewReader(tail))
			},
		}
	}
}

// multipart writes the fields of a message of several parts and returns their boundary. kind may have parameters.
func (d *draft) multipart(kind string, s slot) string {
	boundary := fmt.Sprintf("=_part_%016x", s.random.Uint64())
	d.field("MIME-Version", "1.0")
	d.field("Content-Type", fmt.Sprintf("multipart/%s;\r\n boundary=%q", kind, boundary))
	d.WriteString("\r\nThis is a message of several parts.\r\n")
	return boundary
}

func (d *draft) part(boundary string) { d.WriteString("\r\n--" + boundary + "\r\n") }

func (d *draft) end(boundary string) popsim.Message {
	d.WriteString("\r\n--" + boundary + "--\r\n")
	return d.message()
}

// file writes the fields of a file in base64, up to the blank line.
func (d *draft) file(kind, name string) {
	d.field("Content-Type", fmt.Sprintf("%s; name=%q", kind, name))
	d.field("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	d.field("Content-Transfer-Encoding", "base64")
	d.WriteString("\r\n")
}

func (d *draft) base64(octets []byte) {
	d.WriteString(wrap(base64.StdEncoding.EncodeToString(octets), 76) + "\r\n")
}

// wavHead is the head of a recording: one channel, 16 bits, 44,100 a second.
func wavHead(size uint32) []byte {
	b := append([]byte("RIFF"), 0, 0, 0, 0)
	b = append(b, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x44\xac\x00\x00\x88\x58\x01\x00\x02\x00\x10\x00data\x00\x00\x00\x00"...)
	binary.LittleEndian.PutUint32(b[4:], size-8)
	binary.LittleEndian.PutUint32(b[40:], size-44)
	return b
}

// bmpHead is the head of a picture of 24 bits a point.
func bmpHead(width, height uint32) []byte {
	b := make([]byte, 54)
	copy(b, "BM")
	binary.LittleEndian.PutUint32(b[2:], 54+width*height*3)
	binary.LittleEndian.PutUint32(b[10:], 54)
	binary.LittleEndian.PutUint32(b[14:], 40)
	binary.LittleEndian.PutUint32(b[18:], width)
	binary.LittleEndian.PutUint32(b[22:], height)
	b[26], b[28] = 1, 24
	return b
}

// picture is HTML with a picture of the evening sky beside it, as multipart/related.
func picture(i int) maker {
	return func(s slot) popsim.Message {
		d := s.begin("Carla Ruiz <carla@example.com>", fmt.Sprintf("Evening sky, picture %d", i+1))
		boundary := d.multipart("related", s)
		d.part(boundary)
		d.typed("text/html", utf8Quoted, "<html><body><p>The sky over the harbour, again – I cannot stop.</p>\n<p><img src=\"cid:sky@example.com\" alt=\"sky\"></p></body></html>\n")
		d.part(boundary)
		d.field("Content-ID", "<sky@example.com>")
		d.file("image/png", "sky.png")
		d.base64(sky(s))
		return d.end(boundary)
	}
}

func sky(s slot) []byte {
	const width, height = 180, 120
	picture := image.NewNRGBA(image.Rect(0, 0, width, height))
	warmth := s.random.IntN(80)
	for y := range height {
		for x := range width {
			grain := s.random.IntN(12)
			picture.Set(x, y, color.NRGBA{R: byte(70 + y + grain), G: byte(60 + y/2 + grain), B: byte(220 - y/2 - warmth + grain), A: 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		return nil // a buffer takes all, and the picture is not empty
	}
	return b.Bytes()
}

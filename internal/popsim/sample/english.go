package sample

import (
	"fmt"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

var ascii = form{charset: "us-ascii", transfer: "7bit"}

var friends = []string{
	"Theo Marsh <theo@example.net>", "Carla Ruiz <carla@example.com>", "\"Okafor, Ngozi\" <ngozi@example.org>",
	"Priya Nair <priya@example.com>", "Sam Holloway <sam@example.net>", "ada@example.net (Ada Whitfield)", "<bursar@example.org>",
}

var noteSubjects = []string{
	"Key for the boat shed", "Re: Saturday", "Lost: one blue scarf", "Minutes of the allotment meeting", "Fwd: piano tuner",
	"Bread recipe, second attempt", "Train times", "Can you water the tomatoes?", "Your parcel is next door", "Invoice 2291",
	"A question about the bees", "Rota for May", "Thank you!", "The kettle", "Re: Re: the kettle", "Quiz night",
}

var noteParagraphs = []string{
	"The key hangs behind the door of the boat shed, on the nail with the red string.\nPlease hang it back there; last week it travelled to Leeds and back.",
	"I tried the bread again with less water and a longer rest. It rose like a cathedral\nand tasted like one too, so back to the old recipe.",
	"The 8:14 does not run on Sundays. We could take the 8:41 and still be there\nbefore the choir starts.",
	"Could you water the tomatoes while we are away? The can is under the bench, the\nbutt is full, and you may eat whatever is red.",
	"Minutes are attached to the shed door, as every year. In short: no goats.",
	"The bees are doing well. They have found the lime trees, and the whole garden hums\nfrom nine to five, with a break for lunch as far as I can tell.",
	"The kettle has gone missing again. I accuse nobody. I only note that it was last\nseen in the company of the biscuits.",
	"From here on it gets easier: only the windows are left, and they are small.",
	"Thank you for the lovely evening. The children still talk of the telescope, and\nof the ring around Saturn that they saw, or say they saw.",
	"Invoice 2291 is paid. If you ever need a cellar pumped out again, you know where\nwe are.",
}

// note is a short letter in English.
func note(s slot) popsim.Message {
	d := s.begin(friends[s.random.IntN(len(friends))], noteSubjects[s.random.IntN(len(noteSubjects))])
	order := s.random.Perm(len(noteParagraphs))
	parts := []string{"Dear Robin,"}
	for _, i := range order[:1+s.random.IntN(4)] {
		parts = append(parts, noteParagraphs[i])
	}
	text := strings.Join(append(parts, "Yours,\n-- \nsent from a desk with a view"), "\n\n") + "\n"
	if s.random.IntN(3) == 0 { // many programs leave the MIME fields out
		d.WriteString("\r\n" + strings.ReplaceAll(text, "\n", "\r\n"))
		return d.message()
	}
	return d.plain(ascii, text)
}

// topic is a thread of a mailing list.
type topic struct {
	list, subject string
	lines         []string
	patch         bool // the first message is one
}

func topics() []topic {
	return []topic{
		{list: "tide-watch", subject: "Moving the gauge", lines: []string{"The gauge on the east pier reads two centimetres low since March.", "Mine too. I blame the new mooring.", "Has anyone tried the old bracket?"}},
		{list: "sourdough", subject: "Starter smells of apples", lines: []string{"Is that good? It doubled overnight.", "Apples are fine. Pear drops are not.", "Feed it rye for a week and ask again."}},
		{list: "ledger-dev", subject: "[PATCH] report: keep the sign of a zero balance", patch: true, lines: []string{"Looks right to me.", "Could the test say why the sign matters?", "Applied, thanks."}},
		{list: "choir", subject: "Programme for the spring concert", lines: []string{"I propose Tallis, and then tea.", "The basses second the tea.", "We need a tenor. Any tenor."}},
		{list: "astronomy", subject: "Clouds, as usual", lines: []string{"Clear from two till four, says the forecast.", "It said that yesterday.", "I saw one star. It was a good one."}},
		{list: "allotment", subject: "The goat question", lines: []string{"The by-laws mention poultry only.", "A goat is not poultry, however small.", "Motion: no goats."}},
	}
}

// at writes the n-th message of the thread, whose first is in slot first.
func (t topic) at(n, first int) maker {
	return func(s slot) popsim.Message {
		subject := t.subject
		if n > 0 {
			subject = "Re: " + subject
		}
		d := s.begin(friends[n%len(friends)], subject)
		if n > 0 {
			d.field("In-Reply-To", id(s.number-2))
			d.field("References", strings.Join(t.references(n, first), "\r\n "))
		}
		d.field("List-Id", fmt.Sprintf("<%s.lists.example.org>", t.list))
		d.field("List-Post", fmt.Sprintf("<mailto:%s@lists.example.org>", t.list))
		d.field("List-Unsubscribe", fmt.Sprintf("<https://lists.example.org/%s/leave>", t.list))
		d.field("Precedence", "list")
		m := d.plain(ascii, t.text(n, s))
		m.Thread = t.list
		return m
	}
}

func (t topic) references(n, first int) []string {
	var all []string
	for i := range n {
		all = append(all, id(first+2*i))
	}
	return all
}

func (t topic) text(n int, s slot) string {
	text := t.lines[n%len(t.lines)] + "\n"
	switch {
	case n == 0 && t.patch:
		text = patchText
	case n > 0:
		earlier := t.lines[(n-1)%len(t.lines)]
		text = fmt.Sprintf("On %s, %s wrote:\n> %s\n>\n> > From the archives: see last year's thread\n\n%s",
			s.date.Add(-26*time.Hour).Format("2 Jan 2006"), friends[(n-1)%len(friends)], earlier, text)
	}
	return text + "\n_______________________________________________\n" + t.list + " mailing list\n" + t.list + "@lists.example.org\n"
}

// patchText is what `git format-patch` writes, with its line that begins with From and a space.
const patchText = `From 3f2c9a7be1d04458c6a0b1f2e9d7c5a3b8e6f401 Mon Sep 17 00:00:00 2001
From: Ngozi Okafor <ngozi@example.org>
Subject: [PATCH] report: keep the sign of a zero balance

A balance of -0.004 is shown as 0.00, and the reader wonders where the
four tenths of a penny went.

---
 report.c | 4 ++--
 1 file changed, 2 insertions(+), 2 deletions(-)

--- a/report.c
+++ b/report.c
@@ -41,5 +41,5 @@ static void line(struct report *r, money m)
-	printf("%8.2f", m.value);
+	printf("%s%8.2f", m.value < 0 ? "-" : " ", fabs(m.value));
.
-- 
2.47.0

`

var news = []struct{ sender, subject, headline, text string }{
	{"The Harbour Gazette <news@gazette.example.com>", "Ferry to run all winter", "Ferry to run all winter", "The council has found the money behind the old lighthouse fund – and a little more."},
	{"Seeds & Sons <hello@seeds.example.net>", "🌱 Time to sow the broad beans", "Broad beans, now!", "Sow before the frost. Three for two on ‘Aquadulce’ until Sunday: £3.50."},
	{"Museum of Small Things <post@museum.example.org>", "Neue Ausstellung: Knöpfe", "Knöpfe – buttons – boutons", "Four thousand buttons, sorted by sound. Opening on Friday, entry free."},
	{"Night Train Timetables <no-reply@trains.example.com>", "Your ticket Zürich → Wien", "Gute Reise!", "Coach 263, berth 54 (upper). Departure 21:40, platform 12."},
	{"Chess by Post <moves@chess.example.net>", "Your opponent has moved: 17… Nf6", "It is your move", "White: R. Vale. Black: a patient person in Reykjavík. You have eleven days left."},
	{"Library <desk@library.example.org>", "Due back on Thursday", "Two books are due", "“The Sea, the Sea” and “Teach Yourself Kazakh (Өз бетінше)” want to come home."},
}

// newsletter is HTML, alone or beside the same as plain text.
func newsletter(i int) maker {
	return func(s slot) popsim.Message {
		n := news[i%len(news)]
		d := s.begin(n.sender, utf8Quoted.word(n.subject))
		d.field("List-Unsubscribe", "<https://news.example.com/stop?u=robin>")
		d.field("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
		d.field("Feedback-ID", fmt.Sprintf("%d:issue:%s", i, s.date.Format("2006-01")))
		if i%4 == 3 {
			d.field("MIME-Version", "1.0")
			d.typed("text/html", []form{utf8Raw, utf8Quoted, utf8Base64}[i/4%3], page(s, n.headline, n.text))
			return d.message()
		}
		boundary := d.multipart("alternative", s)
		d.part(boundary)
		d.typed("text/plain", utf8Quoted, n.headline+"\n\n"+n.text+"\n")
		d.part(boundary)
		d.typed("text/html", utf8Quoted, page(s, n.headline, n.text))
		return d.end(boundary)
	}
}

// page is HTML as newsletters have it: much table, little news.
func page(s slot, headline, text string) string {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><style>\n.wide { width: 600px }\n.small { font-size: 11px }\n</style></head>\n<body><table class=\"wide\">\n")
	fmt.Fprintf(&b, "<tr><td><h1>%s</h1><p>%s</p></td></tr>\n", headline, text)
	for range 5 + s.random.IntN(40) {
		fmt.Fprintf(&b, "<tr><td style=\"padding:0 12px 0 12px;border-collapse:collapse\"><a href=\"https://news.example.com/r/%016x\">%s</a></td></tr>\n",
			s.random.Uint64(), noteParagraphs[s.random.IntN(len(noteParagraphs))])
	}
	b.WriteString("<tr><td class=\"small\">You get this because you asked for it, once, long ago.</td></tr>\n</table></body></html>\n")
	return b.String()
}

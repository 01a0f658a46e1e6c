package sample

import (
	"fmt"
	"strings"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// invitation is a calendar's.
func invitation(s slot) popsim.Message {
	d := s.begin("Priya Nair <priya@example.com>", "Invitation: tea with the committee")
	boundary := d.multipart("mixed", s)
	d.part(boundary)
	d.typed("text/plain", ascii, "Tea, Thursday, four o'clock.\n")
	d.part(boundary)
	d.field("Content-Type", "text/calendar; charset=utf-8; method=REQUEST")
	d.WriteString("\r\nBEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//example.com//tea//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\n")
	d.WriteString("UID:tea-1@example.com\r\nDTSTART:" + s.date.Format("20060102T150405Z") + "\r\nSUMMARY:Tea with the committee\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	return d.end(boundary)
}

// card is a visiting card, with a name in Kazakh and a file name as RFC 2231 writes it.
func card(s slot) popsim.Message {
	d := s.begin("Priya Nair <priya@example.com>", "Aigul's address")
	boundary := d.multipart("mixed", s)
	d.part(boundary)
	d.typed("text/plain", ascii, "Here it is.\n")
	d.part(boundary)
	d.field("Content-Type", "text/vcard; charset=utf-8")
	d.field("Content-Disposition", "attachment;\r\n filename*=utf-8''%D0%90%D0%B9%D0%B3%D2%AF%D0%BB.vcf")
	d.field("Content-Transfer-Encoding", "8bit")
	d.WriteString("\r\nBEGIN:VCARD\r\nVERSION:4.0\r\nFN:Айгүл Сейітқызы\r\nEMAIL:aigul@example.com\r\nADR:;;Абай даңғылы 10;Алматы;;050000;Қазақстан\r\nEND:VCARD\r\n")
	return d.end(boundary)
}

// table is numbers, in base64.
func table(s slot) popsim.Message {
	d := s.begin("Sam Holloway <sam@example.net>", "Rainfall, all of it")
	boundary := d.multipart("mixed", s)
	d.part(boundary)
	d.typed("text/plain", ascii, "Twelve years of mornings with the rain gauge.\n")
	d.part(boundary)
	d.file("text/csv", "rainfall.csv")
	var b strings.Builder
	b.WriteString("day,millimetres\n")
	for day := range 12 * 365 {
		fmt.Fprintf(&b, "%d,%d.%d\n", day, s.random.IntN(20), s.random.IntN(10))
	}
	d.base64([]byte(b.String()))
	return d.end(boundary)
}

// forwarded has another message inside it.
func forwarded(s slot) popsim.Message {
	d := s.begin("Theo Marsh <theo@example.net>", "Fwd: piano tuner")
	boundary := d.multipart("mixed", s)
	d.part(boundary)
	d.typed("text/plain", ascii, "See below. He comes on a bicycle.\n")
	d.part(boundary)
	d.field("Content-Type", "message/rfc822")
	d.field("Content-Disposition", "inline")
	d.WriteString("\r\nFrom: Piano Tuner <a440@example.com>\r\nTo: theo@example.net\r\nSubject: Tuesday\r\nDate: Mon, 2 Sep 2024 08:00:00 +0100\r\n\r\n")
	d.WriteString("Tuesday suits me well.\r\n\r\nFrom ten o'clock, if the wind allows.\r\n")
	return d.end(boundary)
}

package oauth

import (
	_ "embed"
	"errors"
	"html/template"
	"net/http"
)

//go:embed page.html
var pageText string

// writePage shows in the browser what came of the sign-in; err is nil when it came about.
func writePage(w http.ResponseWriter, status int, err error) {
	page := struct{ Title, Text, Problem string }{
		Title: "Signed in",
		Text:  "The terminal that popfetchd runs in says whether mail can be fetched now. You can close this window.",
	}
	var unusable *unusableError
	switch {
	case errors.As(err, &unusable):
		page.Title = "Not the answer popfetchd waits for"
		page.Text = "popfetchd is still waiting. Go back to the terminal and open the address that it shows."
		page.Problem = err.Error()
	case err != nil:
		page.Title = "Not signed in"
		page.Text = "Nothing was changed. The terminal that popfetchd runs in says what to do. You can close this window."
		page.Problem = err.Error()
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Referrer-Policy", "no-referrer") // the address holds the code
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = pageTemplate().Execute(w, page) // the browser may have gone
}

func pageTemplate() *template.Template { return template.Must(template.New("page").Parse(pageText)) }

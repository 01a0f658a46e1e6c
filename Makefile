# make demo   builds popfetchd and shows the whole job on sample mail
# make test   proves the promises; as root it installs what it needs (Debian)
# make faults forces every fault there is a test for, and prints the table
# make help   lists the rest

GO      ?= go
DESTDIR ?=
PREFIX  ?= /usr/local
FUZZTIME ?= 1m

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

.PHONY: build demo test faults check fuzz bench install clean help

build: ## the program, static
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o popfetchd ./cmd/popfetchd

demo: build ## fetch 300 sample messages over TLS from a server of its own
	@./popfetchd demo

test: ## all tests: unit, property, fuzz seeds, command line, real Dovecot, kills
	@test/setup.sh
	$(GO) test -race -shuffle=on -timeout 20m ./...

faults: ## every fault, forced: crashes at each step, power cuts, disks, lines, servers
	@test/setup.sh
	$(GO) test -timeout 6h ./test/faults -full -v

check: ## gofmt, vet, staticcheck, go.mod
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff

fuzz: ## every fuzz target for FUZZTIME (1m)
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

bench: ## speed, side by side with mpop and others (as root it installs them)
	@test/setup.sh bench
	$(GO) run ./bench

install: ## what make built, completions, unit and example configuration, below DESTDIR and PREFIX
	@test -x popfetchd || { echo "there is no ./popfetchd yet: run make first, as yourself"; exit 1; }
	install -D -m 755 popfetchd $(DESTDIR)$(PREFIX)/bin/popfetchd
	install -D -m 644 popfetchd.example.yaml $(DESTDIR)$(PREFIX)/share/doc/popfetchd/popfetchd.example.yaml
	mkdir -p $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	./popfetchd completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/popfetchd
	./popfetchd completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_popfetchd
	./popfetchd completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/popfetchd.fish
	sed 's|/usr/local/bin|$(PREFIX)/bin|' deploy/systemd/popfetchd.service | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/lib/systemd/system/popfetchd.service

clean: ## what make built
	rm -f popfetchd

help:
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

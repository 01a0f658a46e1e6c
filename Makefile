# make demo   builds popfetchd and shows the whole job on sample mail
# make test   proves the promises; as root it installs what it needs (Debian)
# make faults forces every fault there is a test for, and prints the table
# make deb    packages for Debian, into dist/
# make help   lists the rest

GO      ?= go
DESTDIR ?=
PREFIX  ?= /usr/local
FUZZTIME ?= 1m
ARCHES  ?= amd64 arm64 armhf
PROGRAM ?= popfetchd

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
# The date in manual pages and packages: that of the commit, so that the same
# commit gives the same bytes.
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)
MANUAL  := dist/man

.PHONY: build program demo test faults longrun check fuzz bench deb install clean help

build: program ## the program, static, and its manual pages
	@mkdir -p $(MANUAL)
	@SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) ./popfetchd man >$(MANUAL)/popfetchd.8
	@VERSION=$(VERSION) SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(GO) run ./deploy/package manual docs/config.md >$(MANUAL)/popfetchd.yaml.5

program:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(PROGRAM) ./cmd/popfetchd

demo: build ## fetch 300 sample messages over TLS from a server of its own
	@./popfetchd demo

test: ## all tests: unit, property, fuzz seeds, command line, real Dovecot, kills
	@test/setup.sh
	$(GO) test -race -shuffle=on -timeout 20m ./...

faults: ## every fault, forced: crashes at each step, power cuts, disks, lines, servers
	@test/setup.sh
	$(GO) test -timeout 6h ./test/faults -full -v

longrun: ## 500 accounts: three simulated weeks, 10,000 real runs, memory
	$(GO) test -timeout 1h -run 'Weeks|Memory|ManyRuns|Log' ./internal/daemon ./test/longrun -full -v

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

deb: build ## Debian packages for ARCHES (amd64 arm64 armhf), into dist/
	@export MAKE='$(MAKE)' GO='$(GO)' VERSION=$(VERSION) SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH); \
	for arch in $(ARCHES); do deploy/debian/build.sh $$arch || exit 1; done

BIN   = $(DESTDIR)$(PREFIX)/bin
LIB   = $(DESTDIR)$(PREFIX)/lib
SHARE = $(DESTDIR)$(PREFIX)/share
UNIT  = sed 's|/usr/local/bin|$(PREFIX)/bin|'

install: ## what make built, manual, completions, units, papers, below DESTDIR and PREFIX
	@test -x popfetchd && test -e $(MANUAL)/popfetchd.8 || { echo "there is no ./popfetchd yet: run make first, as yourself"; exit 1; }
	@umask 022; set -e; \
	install -D -m 755 $(PROGRAM) $(BIN)/popfetchd; \
	install -D -m 644 -t $(SHARE)/man/man8 $(MANUAL)/popfetchd.8; \
	install -D -m 644 -t $(SHARE)/man/man5 $(MANUAL)/popfetchd.yaml.5; \
	install -d $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d; \
	./popfetchd completion bash >$(SHARE)/bash-completion/completions/popfetchd; \
	./popfetchd completion zsh >$(SHARE)/zsh/site-functions/_popfetchd; \
	./popfetchd completion fish >$(SHARE)/fish/vendor_completions.d/popfetchd.fish; \
	install -d $(LIB)/systemd/system $(LIB)/systemd/user; \
	(cd deploy/systemd && ls *.service *.timer user/*) | while read -r unit; do \
		to=$(LIB)/systemd/system/$$unit; case $$unit in user/*) to=$(LIB)/systemd/$$unit; esac; \
		$(UNIT) deploy/systemd/$$unit >$$to; \
	done; \
	install -D -m 644 deploy/systemd/popfetchd.sysusers $(LIB)/sysusers.d/popfetchd.conf; \
	install -D -m 644 deploy/systemd/popfetchd.tmpfiles $(LIB)/tmpfiles.d/popfetchd.conf; \
	install -D -m 644 -t $(SHARE)/doc/popfetchd docs/*.md CHANGELOG.md; \
	install -D -m 644 popfetchd.example.yaml $(SHARE)/doc/popfetchd/examples/popfetchd.yaml

clean: ## takes away what make built
	rm -rf popfetchd dist

help:
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

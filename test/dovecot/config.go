package dovecot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// configuration is the whole dovecot.conf. It is made for speed (no fsync on
// the server's side, no flags to write, processes that serve many sessions)
// and without the delays that Dovecot puts before the guessers of passwords.
func (s *Server) configuration(addresses []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[2]s
protocols = pop3 imap
listen = %[3]s
`, s.Dir, s.logPath(), strings.Join(addresses, ", "))
	fmt.Fprintf(&b, `
default_internal_user = %[1]s
default_internal_group = %[2]s
default_login_user = %[1]s
first_valid_uid = 1
first_valid_gid = 1
default_vsz_limit = 0
default_process_limit = 100
default_client_limit = 2000
`, s.owner.name, s.owner.group)
	fmt.Fprintf(&b, `
ssl = yes
ssl_cert = <%[1]s/cert.pem
ssl_key = <%[1]s/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_username_chars =
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/users/%%Mu
}
userdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/users/%%Mu
}
`, s.Dir)
	b.WriteString(`
mail_location = maildir:~/Maildir
mail_fsync = never
mail_max_userip_connections = 0
pop3_no_flag_updates = yes
pop3_lock_session = no
pop3_fast_size_lookups = yes
namespace inbox {
  inbox = yes
}
`)
	if s.options.UIDLFormat != "" {
		fmt.Fprintf(&b, "pop3_uidl_format = %s\n", s.options.UIDLFormat)
	}
	fmt.Fprintf(&b, `
service pop3-login {
  chroot =
  service_count = 0
  inet_listener pop3 {
    port = %d
  }
  inet_listener pop3s {
    port = %d
    ssl = yes
  }
}
service imap-login {
  chroot =
  inet_listener imap {
    port = %d
  }
  inet_listener imaps {
    port = 0
  }
}
service pop3 {
  service_count = 0
  process_limit = 100
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
`, s.POP3, s.POP3S, s.IMAP)
	b.WriteString(s.options.Settings)
	b.WriteString("\n")
	return b.String()
}

// launchError makes an error of what Dovecot said before it gave up.
func (s *Server) launchError() error {
	output, err := os.ReadFile(filepath.Join(s.Dir, "output"))
	if err != nil {
		return err
	}
	said := string(output)
	if _, err := os.Stat(s.logPath()); err == nil {
		said += s.Log()
	}
	switch {
	case strings.Contains(said, "Address already in use"):
		os.Remove(s.logPath())
		return errPortTaken
	case strings.Contains(said, "Unknown protocol"):
		return ErrNotInstalled
	}
	return errors.New(strings.TrimSpace(said))
}

"""Postfix run from unpacked packages and a configuration of the tests' own: as a next hop (Maildir, STARTTLS) and as the relay to be
compared with. Never the machine's mail system. Needs root, as Postfix does."""
import grp
import os
import pathlib
import pwd
import socket
import subprocess
import time

from .peers import NextHop

QUEUE_DIRS = ("active bounce corrupt defer deferred flush hold incoming maildrop private public saved trace").split()

MASTER_CF = """
{listen} inet n - n - {processes} smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Postfix(NextHop):
    """With maildir: takes mail for every domain into directory/mail. With relay_to ("host:port"): sends everything there."""

    def __init__(self, unpacked, directory, relay_to=None, tls=None, settings=None, processes="-", logging=True):
        self.root = pathlib.Path(unpacked) / "postfix"
        self.dir = pathlib.Path(directory)
        self.port = free_port()
        self.mail = self.dir / "mail"
        self.log = self.dir / "postfix.log"
        self.process = None
        self.lib = self.root / "usr/lib/postfix"
        self._layout()
        self._configure(relay_to, tls, settings or {}, processes, logging)

    def _layout(self):
        owner, group = pwd.getpwnam("daemon"), grp.getgrnam("mail")
        for part in ("conf", "data", "queue", "mail"):
            (self.dir / part).mkdir(parents=True, exist_ok=True)
        os.chmod(self.dir, 0o755)
        for name in QUEUE_DIRS:
            path = self.dir / "queue" / name
            path.mkdir(exist_ok=True)
            os.chown(path, owner.pw_uid, group.gr_gid if name in ("maildrop", "public") else 0)
            path.chmod({"maildrop": 0o1730, "public": 0o2710}.get(name, 0o700))
        (self.dir / "queue/pid").mkdir(exist_ok=True)
        os.chown(self.dir / "data", owner.pw_uid, 0)
        os.chown(self.mail, owner.pw_uid, owner.pw_gid)

    def _configure(self, relay_to, tls, settings, processes, logging):
        conf = {
            "compatibility_level": "3.6", "queue_directory": self.dir / "queue", "data_directory": self.dir / "data",
            "command_directory": self.root / "usr/sbin", "daemon_directory": self.lib / "sbin", "meta_directory": self.root / "etc/postfix",
            "shlib_directory": self.lib, "mail_owner": "daemon", "setgid_group": "mail", "default_privs": "nobody",
            "myhostname": "peer.example.net", "mydestination": "", "mynetworks": "127.0.0.0/8", "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4", "alias_maps": "", "alias_database": "", "local_recipient_maps": "", "smtpd_peername_lookup": "no",
            "import_environment": "MAIL_CONFIG LD_LIBRARY_PATH TZ LANG=C", "export_environment": "TZ LANG=C LD_LIBRARY_PATH",
            "smtp_dns_support_level": "disabled", "disable_dns_lookups": "yes", "smtputf8_enable": "yes",
            "message_size_limit": "200000000", "mailbox_size_limit": "0", "virtual_mailbox_limit": "0",
            "maillog_file": self.log if logging else "/dev/null", "maillog_file_prefixes": f"{self.dir}, /dev",
        }
        if relay_to:
            host, port = relay_to.rsplit(":", 1)
            conf["relayhost"] = f"[{host}]:{port}"
        else:
            (self.dir / "conf/any").write_text("/./ any\n")
            conf.update({"virtual_mailbox_domains": f"regexp:{self.dir}/conf/any", "virtual_mailbox_maps": "static:all/",
                         "virtual_mailbox_base": self.mail, "virtual_minimum_uid": 1,
                         "virtual_uid_maps": f"static:{pwd.getpwnam('daemon').pw_uid}", "virtual_gid_maps": f"static:{grp.getgrnam('daemon').gr_gid}"})
        if tls:
            conf.update({"smtpd_tls_cert_file": tls[0], "smtpd_tls_key_file": tls[1], "smtpd_tls_security_level": "may",
                         "smtpd_tls_loglevel": 1, "smtpd_tls_received_header": "yes"})
        conf.update(settings)
        (self.dir / "conf/main.cf").write_text("".join(f"{k} = {v}\n" for k, v in conf.items()))
        (self.dir / "conf/master.cf").write_text(MASTER_CF.format(listen=f"127.0.0.1:{self.port}", processes=processes))

    def start(self):
        env = {**os.environ, "LD_LIBRARY_PATH": str(self.lib), "MAIL_CONFIG": str(self.dir / "conf")}
        out = open(self.dir / "master.out", "ab")
        self.process = subprocess.Popen([self.lib / "sbin/master", "-d", "-c", self.dir / "conf"], env=env, stdin=subprocess.DEVNULL,
                                        stdout=out, stderr=out, start_new_session=True)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=2) as s:
                    if s.recv(100).startswith(b"220"):
                        return self
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        raise RuntimeError("Postfix did not start:\n" + (self.dir / "master.out").read_text()[-2000:] +
                           (self.log.read_text()[-2000:] if self.log.exists() else ""))

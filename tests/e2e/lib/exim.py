"""Exim as a next hop, run from an unpacked package and a configuration of the tests' own: Maildir, STARTTLS, CHUNKING."""
import os
import pathlib
import pwd
import socket
import subprocess
import time

from .peers import NextHop

CONFIG = """
primary_hostname = peer.example.net
exim_user = daemon
exim_group = daemon
never_users =
deliver_drop_privilege = true
exim_path = {binary}
keep_environment = LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
spool_directory = {dir}/spool
log_file_path = {dir}/%slog
pid_file_path = {dir}/exim.pid
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
domainlist local_domains = *
acl_smtp_rcpt = accept_all
acl_smtp_data = accept_all
host_lookup =
rfc1413_query_timeout = 0s
message_size_limit = 200M
smtp_accept_max = 200
smtp_accept_max_per_connection = 0
chunking_advertise_hosts = *
pipelining_advertise_hosts = *
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
accept_8bitmime = true
log_selector = +all
{tls}
begin acl
accept_all:
  accept

begin routers
all:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = {dir}/mail/all
  maildir_format
  create_directory
  user = daemon
  group = daemon
  mode = 0644
"""


class Exim(NextHop):
    def __init__(self, unpacked, directory, tls=None):
        self.binary = pathlib.Path(unpacked) / "exim/usr/sbin/exim4"
        self.dir = pathlib.Path(directory)
        self.mail = self.dir / "mail"
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        owner = pwd.getpwnam("daemon")
        for part in ("", "spool", "mail"):
            path = self.dir / part
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o755)
            os.chown(path, owner.pw_uid, owner.pw_gid)
        tls_text = "tls_advertise_hosts =" if not tls else (
            f"tls_advertise_hosts = *\ntls_certificate = {tls[0]}\ntls_privatekey = {tls[1]}")
        self.config = self.dir / "exim.conf"
        self.config.write_text(CONFIG.format(dir=self.dir, binary=self.binary, port=self.port, tls=tls_text))

    def _environment(self):
        """Debian's Exim wants its user by name, which only an installed package makes: nss_wrapper shows it one."""
        passwd, group = self.dir / "passwd", self.dir / "group"
        daemon = pwd.getpwnam("daemon")
        line = f"{daemon.pw_uid}:{daemon.pw_gid}::/:/bin/false"
        passwd.write_text(pathlib.Path("/etc/passwd").read_text() + f"Debian-exim:x:{line}\n")
        group.write_text(pathlib.Path("/etc/group").read_text() + f"Debian-exim:x:{daemon.pw_gid}:\n")
        return {**os.environ, "LD_PRELOAD": "libnss_wrapper.so", "NSS_WRAPPER_PASSWD": str(passwd), "NSS_WRAPPER_GROUP": str(group)}

    def start(self):
        out = open(self.dir / "exim.out", "ab")
        self.process = subprocess.Popen([self.binary, "-C", self.config, "-bdf"], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                        start_new_session=True, env=self._environment())
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=2) as s:
                    if s.recv(100).startswith(b"220"):
                        return self
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError("Exim did not start:\n" + (self.dir / "exim.out").read_text()[-2000:])

    def log(self):
        path = self.dir / "mainlog"
        return path.read_text(errors="replace") if path.exists() else ""

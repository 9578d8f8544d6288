"""Certificates for a test: an authority of its own, and what it signs. Made by openssl's command line tool."""
import pathlib
import subprocess


def _openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, stdin=subprocess.DEVNULL, capture_output=True)


class Authority:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.dir.chmod(0o755)
        self.file, self.key = self.dir / "ca.pem", self.dir / "ca.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 30, "-subj", "/CN=Test CA",
                 "-keyout", self.key, "-out", self.file)

    def certificate(self, name, *alternatives):
        """(certificate, key) for alternatives such as "DNS:mx.example" or "IP:127.0.0.1"."""
        request, certificate, key, extensions = (self.dir / f"{name}.{x}" for x in ("csr", "pem", "key", "ext"))
        extensions.write_text(f"subjectAltName = {','.join(alternatives)}\n")
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}", "-keyout", key,
                 "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-CAcreateserial", "-days", 30, "-extfile",
                 extensions, "-out", certificate)
        key.chmod(0o644)
        return certificate, key


def password_hash(password):
    done = subprocess.run(["openssl", "passwd", "-6", "-salt", "tests", "-stdin"], input=password, check=True, capture_output=True, text=True)
    return done.stdout.strip()

"""Two verifiers of DKIM that nobody here wrote: python3-dkim, and the library behind opendkim-testmsg, both with a table in place of DNS."""
import ctypes
import ctypes.util
import pathlib
import sys

if "/usr/lib/python3/dist-packages" not in sys.path:
    sys.path.append("/usr/lib/python3/dist-packages")  # where Debian puts it, whichever Python runs this

import dkim  # noqa: E402


class PythonDkim:
    def __init__(self, records):
        self.records = {name.encode() + b".": text.encode() for name, text in records.items()}

    def verify(self, message):
        """For each DKIM-Signature field, from the top: is it good?"""
        d = dkim.DKIM(message)
        n = sum(1 for name, _ in d.headers if name.lower() == b"dkim-signature")
        return [self._one(d, i) for i in range(n)]

    def _one(self, d, i):
        try:
            return d.verify(i, dnsfunc=lambda name, timeout=5: self.records.get(name))
        except dkim.ValidationError:
            return False


class OpenDkim:
    """libopendkim, as opendkim-testmsg calls it; keys from a file (DKIM_QUERY_FILE)."""
    SETOPT, QUERYMETHOD, QUERYINFO, FILE, PASSED = 1, 6, 7, 1, 4

    def __init__(self, records, directory):
        self.file = pathlib.Path(directory) / "keys"
        self.file.write_text("".join(f"{name} {text}\n" for name, text in records.items()))
        self.lib = ctypes.CDLL("libopendkim.so.11")
        for name in ("dkim_init", "dkim_verify"):
            getattr(self.lib, name).restype = ctypes.c_void_p
        self.handle = ctypes.c_void_p(self.lib.dkim_init(None, None))
        method, path = ctypes.c_int(self.FILE), ctypes.create_string_buffer(str(self.file).encode())
        assert self.lib.dkim_options(self.handle, self.SETOPT, self.QUERYMETHOD, ctypes.byref(method), ctypes.c_size_t(4)) == 0
        assert self.lib.dkim_options(self.handle, self.SETOPT, self.QUERYINFO, path, ctypes.c_size_t(len(path.value))) == 0

    def verify(self, message):
        status = ctypes.c_int()
        d = ctypes.c_void_p(self.lib.dkim_verify(self.handle, b"test", None, ctypes.byref(status)))
        assert d.value and status.value == 0, status.value
        try:
            # the parser wants a body behind the header section, as a milter would tell of one
            r = self.lib.dkim_chunk(d, message, ctypes.c_size_t(len(message)))
            r = r or self.lib.dkim_chunk(d, None, ctypes.c_size_t(0))
            r = r or self.lib.dkim_eom(d, None)
            n, signatures = ctypes.c_int(), ctypes.POINTER(ctypes.c_void_p)()
            if self.lib.dkim_getsiglist(d, ctypes.byref(signatures), ctypes.byref(n)):
                return [r == 0]
            self.lib.dkim_sig_getflags.restype = ctypes.c_uint
            return [self.lib.dkim_sig_getflags(ctypes.c_void_p(signatures[i])) & self.PASSED != 0 and
                    self.lib.dkim_sig_getbh(ctypes.c_void_p(signatures[i])) == 0 for i in range(n.value)]
        finally:
            self.lib.dkim_free(d)

    def close(self):
        self.lib.dkim_close(self.handle)

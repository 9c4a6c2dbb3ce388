"""Encrypts all that the tests of flux-sops decrypt, with the real sops, age and gpg, and prints it as JSON.

Run by .ci/sops, which has the programs. The keys are new each time.
"""

import base64
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SOPS, AGE_KEYGEN, BAO = (os.environ[name] for name in ("SOPS", "AGE_KEYGEN", "BAO"))
work = tempfile.mkdtemp(prefix="sops-")
gnupg = tempfile.mkdtemp(prefix="gnupg-")
clean = {
    "PATH": os.environ["PATH"],
    "HOME": work,
    "GNUPGHOME": gnupg,
    "SOPS_DISABLE_VERSION_CHECK": "true",
}


def run(*command, data=None, env=None, fails=False):
    done = subprocess.run(command, input=data, capture_output=True, env={**clean, **(env or {})}, cwd=work)
    if done.returncode and not fails:
        sys.exit(f"{command}: {done.stderr.decode()}")
    return done


def path(name, data=None):
    full = os.path.join(work, name)
    if data is not None:
        with open(full, "wb") as file:
            file.write(data)
    return full


def age(*options):
    text = run(AGE_KEYGEN, *options).stdout.decode()
    recipient = re.search(r"public key: (\S+)", text)[1]
    return recipient, text


def ssh(kind):
    file = path(f"ssh-{kind}")
    run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", file, *(["-b", "2048"] if kind == "rsa" else []))
    public = " ".join(open(f"{file}.pub").read().split()[:2])
    return public, open(file).read()


def gpg(kind, name, *sub):
    user = f"{name} <{name}@example.com>"
    run("gpg", "--batch", "--passphrase", "", "--quick-gen-key", user, kind, "cert,sign", "0")
    listed = run("gpg", "--with-colons", "--list-keys", user).stdout.decode()
    fingerprint = re.search(r"fpr:+([0-9A-F]{40}):", listed)[1]
    run("gpg", "--batch", "--passphrase", "", "--quick-add-key", fingerprint, *sub, "encr", "0")
    return fingerprint, run("gpg", "--armor", "--export-secret-keys", fingerprint).stdout.decode()


# The key service of AWS, whose ciphertexts are the plaintexts with a prefix.
kms_calls = []


class Kms(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        kms_calls.append(body)
        plain = base64.b64decode(body["Plaintext"])
        answer = json.dumps({"KeyId": body["KeyId"], "CiphertextBlob": base64.b64encode(b"wrapped:" + plain).decode()})
        self.send_response(200)
        self.send_header("content-type", "application/x-amz-json-1.1")
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


kms = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kms)
threading.Thread(target=kms.serve_forever, daemon=True).start()
aws = {
    "AWS_ACCESS_KEY_ID": "AKID",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_ENDPOINT_URL_KMS": f"http://127.0.0.1:{kms.server_port}",
    "AWS_EC2_METADATA_DISABLED": "true",
}
ARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

bao_address = "http://127.0.0.1:18200"
bao = subprocess.Popen(
    [BAO, "server", "-dev", "-dev-root-token-id=root", "-dev-listen-address=127.0.0.1:18200", "-dev-no-store-token"],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
    env=clean,
)


def vault(method, name, body=None):
    request = urllib.request.Request(
        f"{bao_address}/v1/{name}",
        method=method,
        data=json.dumps(body or {}).encode(),
        headers={"X-Vault-Token": "root"},
    )
    with urllib.request.urlopen(request) as answer:
        text = answer.read()
        return json.loads(text) if text else {}


for attempt in range(100):
    try:
        vault("POST", "sys/mounts/transit", {"type": "transit"})
        break
    except OSError:
        time.sleep(0.1)
vault("POST", "transit/keys/flux")

x25519, x25519_key = age()
other, other_key = age()
hybrid, hybrid_key = age("-pq")
ed25519, ed25519_key = ssh("ed25519")
rsa, rsa_key = ssh("rsa")
pgp_rsa, pgp_rsa_key = gpg("rsa2048", "rsa", "rsa2048")
pgp_ec, pgp_ec_key = gpg("ed25519", "curve", "cv25519")
keys = {
    "x25519": x25519_key,
    "other": other_key,
    "hybrid": hybrid_key,
    "ssh-ed25519": ed25519_key,
    "ssh-rsa": rsa_key,
    "pgp-rsa": pgp_rsa_key,
    "pgp-curve": pgp_ec_key,
    "pgp-both": pgp_rsa_key + pgp_ec_key,
}

YAML = rb"""# above the document

# above the first key
apiVersion: v1
kind: Secret # behind a value
metadata:
    name: everything
    # above a nested key
    labels: {app: web, tier: "1"}
stringData:
    plain: value
    empty: ""
    blank: " "
    yes: "yes"
    number: "12"
    nothing: "null"
    date: "2026-01-02"
    tilde: "~"
    quotes: it's "quoted"
    colon: "a: b"
    hash: "a #b"
    unicode: "\u00fc \u20ac \U0001F511"
    tab: "a\tb"
    long: aaaa bbbb cccc dddd eeee ffff gggg hhhh iiii jjjj kkkk llll mmmm nnnn oooo pppp qqqq rrrr
    lines: |
        first
          second

        third
    folded: >-
        one
        two
    trailing: "line\n"
values:
    int: 42
    negative: -7
    hex: 0x1F
    octal: 0o17
    big: 9007199254740993
    float: 3.14
    exponent: 1e21
    small: 1e-9
    whole: 2.0
    truth: true
    falsehood: false
    none: null
    time: 2026-01-02T03:04:05Z
    fraction: 2026-01-02T03:04:05.678+02:00
    password_unencrypted: in clear
    key_secret: hidden
    # flux:encrypt the next
    commented: by a comment
    after: the comment
list:
    # above an item
    - one
    - two # behind an item
    - three: 3
      four: [5, "six", null, true]
    - []
    - {}
    # below the list
nested:
    deep:
        deeper:
            deepest: value
            list_secret:
                - a
                - b: c
anchor: &anchor
    shared: value
alias: *anchor
"spaced key": x
"1": number as key
# below the document
"""
YAML_TWO = YAML_FIRST = b"""first: 1
---
# second document
second: two
list: [a, b]
---
third:
    - c
"""
JSON = rb"""{
  "string": "value", "empty": "", "html": "<a href=\"x\">&</a>", "unicode": "\u00fc\u20ac\ud83d\udd11\u2028",
  "control": "a\tb\nc\u0001", "int": 42, "big": 9007199254740993, "negative": -1, "float": 3.25, "exponent": 1e30,
  "small": 1e-9, "true": true, "false": false, "null": null, "list": [1, "two", [3, {"four": 4}], {}, []],
  "nested": {"a": {"b": {"c": "d"}}, "empty": {}}, "clear_unencrypted": {"x": 1, "y": "z"}, "key_secret": "hidden",
  "spaced key": "x", "": "empty key"
}"""
DOTENV = rb"""# a comment
PLAIN=value
EMPTY=
SPACES=  a b  
QUOTED="quoted"
EQUALS=a=b=c
LINES=one\ntwo\\three
# another comment
#
export EXPORTED=x
clear_unencrypted=in clear
key_secret=hidden
# flux:encrypt the next
COMMENTED=by a comment
"""
INI = rb"""before = the first section
number: 12

; of a section
[section]
plain = value
; of a key
commented = x
# with a hash
hashed = y
mark = here#there
semicolon = "a;b"
quoted = "in quotes"
single = 'in quotes'
backquoted = `a#b`
continued = one \
two
empty =
spaces = " blanks "
colon:value = x
clear_unencrypted = in clear
key_secret = hidden

[other.section]
a = 1
a = 2
[section]
again = yes
multi = '''three'''
lines = \"\"\"first
second\"\"\"
""".replace(rb"\"", b'"')
BINARY = bytes(range(256)) * 2 + b"\r\n<&>"

documents = {
    "yaml": YAML,
    "json": JSON,
    "dotenv": DOTENV,
    "ini": INI,
    "binary": BINARY,
}
rules = {
    "default": {},
    "unencrypted suffix": {"unencrypted_suffix": "_secret"},
    "encrypted suffix": {"encrypted_suffix": "_secret"},
    "unencrypted regex": {"unencrypted_regex": "^(key_|list|spaced)"},
    "encrypted regex": {"encrypted_regex": "^(data|stringData|key_.*|nested|a)$"},
    "unencrypted comment": {"unencrypted_comment_regex": "flux:encrypt"},
    "encrypted comment": {"encrypted_comment_regex": "flux:encrypt"},
    "mac of encrypted only": {"mac_only_encrypted": True, "encrypted_suffix": "_secret"},
}
cases = []


def encoded(data):
    return base64.b64encode(data).decode()


def case(name, kind, plain, options, key, env=None, outputs=None, config=None, **more):
    file = path("in", plain)
    command = [SOPS, "encrypt", "--input-type", kind, "--output-type", kind]
    if config:
        command[1:1] = ["--config", path("config.yaml", config.encode())]
    before = len(kms_calls)
    done = run(*command, *options, file, env={**aws, "VAULT_ADDR": bao_address, "VAULT_TOKEN": "root", **(env or {})}, fails=True)
    if done.returncode:
        print(f"left out: {name}: {done.stderr.decode().strip()}", file=sys.stderr)
        return
    text = done.stdout
    # One that the program itself can decrypt, whatever the keys are.
    secret = path("age.txt", (x25519_key + hybrid_key).encode())
    ssh_file = path("ssh-rsa") if key == "ssh-rsa" else path("ssh-ed25519")
    reading = {"SOPS_AGE_KEY_FILE": secret, "SOPS_AGE_SSH_PRIVATE_KEY_FILE": ssh_file, "VAULT_TOKEN": "root"}
    plains = {}
    encrypted = path("encrypted", text)
    for output in outputs if outputs is not None else [kind]:
        read = run(SOPS, "decrypt", "--input-type", kind, "--output-type", output, encrypted, env=reading, fails=True)
        if read.returncode == 0:
            plains[output] = encoded(read.stdout)
        else:
            plains[output] = None
            print(f"{name} as {output}: {read.stderr.decode().strip().splitlines()[-1:]}", file=sys.stderr)
    found = {"name": name, "format": kind, "file": encoded(text), "key": key, "plain": plains, **more}
    if len(kms_calls) > before:
        found["data_keys"] = [call["Plaintext"] for call in kms_calls[before:]]
        found["kms"] = kms_calls[before]
    cases.append(found)


formats = list(documents)
for kind, plain in documents.items():
    for rule, options in rules.items():
        if kind == "binary" and rule != "default":
            continue
        outputs = [kind]
        if rule == "default":
            # What is not UTF-8 comes out of sops empty as YAML.
            outputs = [other for other in formats if (kind, other) != ("binary", "yaml")]
        config = json.dumps({"creation_rules": [{"age": x25519, **options}]})
        case(f"{kind}, {rule}", kind, plain, [], "x25519", outputs=outputs, config=config)
case("text as binary", "binary", b"a: b\n# c\n", ["--age", x25519], "x25519", outputs=formats)
case("several documents", "yaml", YAML_TWO, ["--age", x25519], "x25519", outputs=formats)
case("a comment only", "yaml", b"a: b\n---\n# only a comment\n", ["--age", x25519], "x25519", outputs=["yaml", "json"])
for name, option, recipient in [
    ("hybrid", "--age", hybrid),
    ("ssh-ed25519", "--age", ed25519),
    ("ssh-rsa", "--age", rsa),
    ("pgp-rsa", "--pgp", pgp_rsa),
    ("pgp-curve", "--pgp", pgp_ec),
]:
    for kind in documents:
        case(f"{kind}, {name}", kind, documents[kind], [option, recipient], name)
case("two recipients", "yaml", YAML, ["--age", f"{other},{x25519}"], "x25519")
case("the second recipient", "yaml", YAML, ["--age", f"{x25519},{other}"], "other", outputs=["yaml"])
case("age before pgp", "yaml", b"a: b\n", ["--pgp", pgp_rsa, "--age", x25519], "x25519")
case("AWS KMS", "yaml", b"a: b\n", ["--kms", ARN], "service", outputs=[])
case("AWS KMS with a context", "json", b'{"a": "b"}', ["--kms", ARN, "--encryption-context", "team:web,env:prod"], "service", outputs=[])
case("AWS KMS in dotenv", "dotenv", b"A=b\n", ["--kms", ARN, "--encryption-context", "team:web"], "service", outputs=[])
case("AWS KMS in INI", "ini", b"[a]\nb = c\n", ["--kms", ARN], "service", outputs=[])
case("AWS KMS or age", "yaml", b"a: b\n", ["--kms", ARN, "--age", x25519], "x25519")
case("a Secret for KMS", "yaml", b"apiVersion: v1\nkind: Secret\nmetadata:\n    name: kms\nstringData:\n    token: very-secret\n",
     ["--kms", ARN, "--encrypted-regex", "^(data|stringData)$"], "service", outputs=[])
case("transit", "yaml", b"a: b\n", ["--hc-vault-transit", f"{bao_address}/v1/transit/keys/flux"], "service")
# What a Kustomization is built from. `very-secret` is in all of them, and nowhere else.
SECRET = b"apiVersion: v1\nkind: Secret\nmetadata:\n    name: NAME\nstringData:\n    token: very-secret\n"
PATCH = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n    name: out\ndata:\n    patched: very-secret-patch\n"
only_data = ["--encrypted-regex", "^(data|stringData)$"]
for name, option, recipient in [
    ("x25519", "--age", x25519),
    ("hybrid", "--age", hybrid),
    ("pgp-rsa", "--pgp", pgp_rsa),
]:
    case(f"Secret, {name}", "yaml", SECRET.replace(b"NAME", name.encode()), [option, recipient, *only_data], name)
case("patch", "yaml", PATCH, ["--age", x25519, *only_data], "x25519")
case("env file", "dotenv", b"TOKEN=very-secret-env\n", ["--age", x25519], "x25519")
case("any file", "binary", b"very-secret-file", ["--age", x25519], "x25519")
case("login", "json", b'{"auths": {"registry.example": {"auth": "very-secret-login"}}}', ["--age", x25519], "x25519")
groups = f"""creation_rules:
    - shamir_threshold: 2
      key_groups:
          - age: [{x25519}]
          - age: [{other}]
          - pgp: [{pgp_rsa}]
"""
for kind in documents:
    case(f"{kind}, two of three groups", kind, documents[kind], [], "groups", config=groups)
bao.kill()
run("gpgconf", "--kill", "gpg-agent", fails=True)
version = run(SOPS, "--version").stdout.decode().split()[1]
json.dump({"sops": version, "keys": keys, "cases": cases}, sys.stdout, indent=0)

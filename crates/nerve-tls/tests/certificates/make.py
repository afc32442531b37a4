"""Makes the certificates of the tests: an authority, a server of each kind of key, one that has expired, one that is not
valid yet. Their keys are known to everybody: they are for tests alone.

    pip install cryptography==50.0.2 && python make.py
"""

import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

HERE = pathlib.Path(__file__).parent
PEM = serialization.Encoding.PEM
PLAIN = serialization.NoEncryption()


def day(year):
    return datetime.datetime(year, 1, 1)


def certificate(subject, issuer, key, signer, years, ca):
    name = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (subject, issuer)]
    builder = x509.CertificateBuilder(name[1], name[0], key.public_key(), x509.random_serial_number(), day(years[0]), day(years[1]))
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if not ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(PEM)


def key_file(name, key, form=serialization.PrivateFormat.PKCS8, encryption=PLAIN):
    (HERE / f"{name}.key").write_bytes(key.private_bytes(PEM, form, encryption))


def p256():
    return ec.generate_private_key(ec.SECP256R1())


authority = p256()
root = certificate("nerve-test-authority", "nerve-test-authority", authority, authority, (2020, 2120), True)
(HERE / "authority.pem").write_bytes(root)
servers = {
    "p256": (p256(), (2020, 2120)),
    "other": (p256(), (2020, 2120)),
    "expired": (p256(), (2020, 2021)),
    "future": (p256(), (2100, 2120)),
    "p384": (ec.generate_private_key(ec.SECP384R1()), (2020, 2120)),
    "ed25519": (ed25519.Ed25519PrivateKey.generate(), (2020, 2120)),
    "rsa": (rsa.generate_private_key(65537, 2048), (2020, 2120)),
}
for name, (key, years) in servers.items():
    (HERE / f"{name}.pem").write_bytes(certificate("localhost", "nerve-test-authority", key, authority, years, False))
    key_file(name, key)
traditional = serialization.PrivateFormat.TraditionalOpenSSL
key_file("rsa-pkcs1", servers["rsa"][0], traditional)
key_file("p256-sec1", servers["p256"][0], traditional)
key_file("encrypted", servers["p256"][0], encryption=serialization.BestAvailableEncryption(b"secret"))

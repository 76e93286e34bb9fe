// Proof of work (ALTCHA, version 2): derive keys with rising counters until one begins with the challenge's prefix.
//
// crypto.subtle works off the page's thread and answers each derivation as a task of its own, so the page stays alive
// without a worker, which many a Content-Security-Policy would forbid.

const MOST_COUNTER = 0xffffffff;
const KDF = /^PBKDF2\/(SHA-(?:256|384|512))$/;

async function solve(challenge, { signal, onprogress } = {}) {
  const asked = typeof challenge === "string" ? JSON.parse(challenge) : challenge;
  const { algorithm, nonce, salt, cost, keyLength = 32, keyPrefix = "00" } = asked.parameters;
  const hash = KDF.exec(algorithm)?.[1];
  if (!hash) throw new TypeError("otp-verification: a challenge of a kind that this script cannot solve");
  if (!crypto.subtle) throw new TypeError("otp-verification: browsers solve challenges on https pages alone");

  const prefix = keyPrefix.toLowerCase();
  const kdf = { name: "PBKDF2", hash, salt: bytesOf(salt), iterations: cost };
  const head = bytesOf(nonce);
  const derive = async (counter) => {
    const password = new Uint8Array(head.length + 4);
    password.set(head);
    new DataView(password.buffer).setUint32(head.length, counter);
    const key = await crypto.subtle.importKey("raw", password, "PBKDF2", false, ["deriveBits"]);
    return hexOf(await crypto.subtle.deriveBits(kdf, key, keyLength * 8));
  };

  const together = Math.min(Math.max(navigator.hardwareConcurrency || 2, 2), 8);
  for (let counter = 0; counter <= MOST_COUNTER; counter += together) {
    if (signal?.aborted) throw new DOMException("The proof is not wanted any more", "AbortError");
    const keys = await Promise.all(Array.from({ length: together }, (_, at) => derive(counter + at)));
    const at = keys.findIndex((key) => key.startsWith(prefix));
    if (at >= 0) return base64Of({ challenge: asked, solution: { counter: counter + at, derivedKey: keys[at] } });
    onprogress?.(counter + together, 16 ** prefix.length);
  }
  throw new RangeError("otp-verification: the challenge has no solution");
}

function bytesOf(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function hexOf(buffer) {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Through bytes: btoa alone refuses what lies outside Latin-1.
function base64Of(value) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value))));
}

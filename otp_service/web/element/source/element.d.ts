// Types of /element.js: an ambient declaration, for pages that load it as a script.
//
//   /// <reference path="./element.d.ts" />

type OtpStatus =
  | "pending" | "checking_ownership" | "verified" | "rejected" | "expired" | "locked" | "cancelled" | "undeliverable";

type OtpDelivery = "queued" | "sent" | "delivered" | "failed";

/** A verification as a browser sees it; times are RFC 3339. */
interface OtpSnapshot {
  readonly id: string;
  readonly status: OtpStatus;
  readonly reason: "ownership_not_confirmed" | null;
  readonly purpose: string;
  readonly reference: string | null;
  /** Masked. */
  readonly phone_number: string;
  readonly code_length: number;
  /** Which SMS carries the code that is good now; 0 as long as there is none. */
  readonly send_number: number;
  readonly created_at: string;
  readonly expires_at: string;
  readonly code_expires_at: string | null;
  readonly resend_at: string | null;
  readonly sends_left: number;
  readonly attempts_left: number;
  readonly delivery: OtpDelivery;
}

/** A refusal that the person has read and can do something about. */
interface OtpRefusal {
  /** A `code` of the API's problem documents, such as `wrong_code`. */
  readonly code: string;
  /** Seconds. */
  readonly retry_after: number | null;
  readonly attempts_left: number | null;
}

/**
 * What keeps the element from working: `offline`, `unavailable`, `internal`, `unauthenticated`, `forbidden`,
 * `not_found`, `proof`, `unknown_status`.
 */
interface OtpTrouble {
  readonly code: string;
}

interface OtpEventMap {
  "otp-ready": CustomEvent<{ readonly verification: OtpSnapshot }>;
  "otp-delivery": CustomEvent<{ readonly delivery: OtpDelivery; readonly send_number: number }>;
  "otp-resent": CustomEvent<{ readonly send_number: number; readonly sends_left: number }>;
  "otp-refused": CustomEvent<OtpRefusal>;
  "otp-checking": CustomEvent<{ readonly id: string }>;
  "otp-verified": CustomEvent<{ readonly id: string }>;
  "otp-rejected": CustomEvent<{ readonly id: string; readonly reason: "ownership_not_confirmed" }>;
  "otp-expired": CustomEvent<{ readonly id: string }>;
  "otp-locked": CustomEvent<{ readonly id: string }>;
  "otp-cancelled": CustomEvent<{ readonly id: string }>;
  "otp-undeliverable": CustomEvent<{ readonly id: string }>;
  "otp-error": CustomEvent<OtpTrouble>;
  "otp-proof": CustomEvent<{ readonly proof: string }>;
}

/** The `challenge` of a `proof_required`, as it came. */
interface OtpChallenge {
  readonly parameters: {
    readonly algorithm: string;
    readonly nonce: string;
    readonly salt: string;
    readonly cost: number;
    readonly keyLength?: number;
    readonly keyPrefix?: string;
    readonly [more: string]: unknown;
  };
  readonly signature?: string;
}

interface OtpSolveOptions {
  readonly signal?: AbortSignal;
  /** Told how many keys were tried, and how many it takes on average. */
  readonly onprogress?: (tried: number, expected: number) => void;
}

declare class OtpVerification extends HTMLElement {
  /** Works out the `proof` of a start.  Rejects with `AbortError`, or `TypeError` for what it cannot solve. */
  static solve(challenge: OtpChallenge | string, options?: OtpSolveOptions): Promise<string>;

  /** Where the service is; by default where the script says. */
  get base(): string;
  set base(url: string | null);
  get verificationId(): string | null;
  set verificationId(id: string | null);
  /** `vi` or `en`; by default the page's own language. */
  get locale(): string;
  set locale(locale: string | null);
  /** A telephone number for people who need help. */
  get hotline(): string | null;
  set hotline(number: string | null);
  /** Written only; the attribute of this name is removed once it was read. */
  set clientToken(token: string | null);
  /** Solved at once; `otp-proof` brings the answer. */
  set challenge(challenge: OtpChallenge | string | null);

  /** Takes the person to the field of the code, as soon as there is one; where it has ended, to what is told. */
  focus(options?: FocusOptions): void;

  addEventListener<Name extends keyof OtpEventMap>(
    type: Name, listener: (this: OtpVerification, event: OtpEventMap[Name]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Name extends keyof OtpEventMap>(
    type: Name, listener: (this: OtpVerification, event: OtpEventMap[Name]) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string, listener: EventListenerOrEventListenerObject, options?: boolean | EventListenerOptions,
  ): void;
}

interface HTMLElementTagNameMap {
  "otp-verification": OtpVerification;
}

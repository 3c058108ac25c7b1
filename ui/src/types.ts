/** What the admin interface answers; times are RFC 3339. */

export interface Card {
  id: string;
  state: "pending" | "approved" | "denied" | "expired" | "abandoned" | "consumed";
  revision: number;
  subject: string | null;
  issuer: string | null;
  owner: string | null;
  groups: string[];
  purpose: string | null;
  address: string | null;
  session: string;
  session_claimed: boolean;
  method: string;
  target: string;
  route: string;
  upstream: string;
  model: string | null;
  body_bytes: number;
  excerpt: string;
  excerpt_is_new: boolean;
  hidden_bytes: number;
  policy: string;
  reason: string;
  place: string;
  secrets: string[];
  changes: { what: string; before: string | null; after: string | null }[];
  by: string[];
  approvals: { by: string; at: string; reason?: string }[];
  approvals_min: number;
  client: "waiting" | "away";
  request: string;
  used_by: string | null;
  asked: string;
  expires: string;
  ended: string | null;
  denied_by: string | null;
  denied_reason: string | null;
  outcome: string | null;
}

export interface Grant {
  id: string;
  approval: string;
  subject: string | null;
  group: string | null;
  session: string | null;
  route: string;
  policy: string;
  opened: string;
  expires: string;
  uses: number;
  uses_max: number | null;
  by: string[];
}

export interface Freeze {
  id: string;
  whom: "all" | { subject?: string; session?: string; route?: string };
  reason: string;
  by: string;
  at: string;
}

export interface Me {
  /** For people. */
  name: string;
  /** As records and approvals name them. */
  principal: string;
  subject?: string | null;
  owner?: string | null;
  groups?: string[];
  roles: { role: string; routes?: string[] | null }[];
  login: "oidc" | "token" | "socket";
  ends?: string | null;
}

export interface Session {
  id: string;
  subject: string | null;
  issuer: string | null;
  owner: string | null;
  purpose: string | null;
  route: string | null;
  name: string;
  named_by: string;
  started: string;
  last: string;
  requests: number;
  decisions: { allow: number; block: number; approve: number; refuse: number };
}

export interface Exchange {
  id: string;
  session: string;
  subject: string | null;
  sequence: number;
  ended_sequence: number | null;
  started: string;
  started_us: number;
  duration_us: number | null;
  method: string | null;
  target: string | null;
  route: string | null;
  upstream: string | null;
  purpose: string | null;
  decision: string | null;
  policy: string | null;
  status: number | null;
  cause: string | null;
  reason: string | null;
  request_bytes: number | null;
  response_bytes: number | null;
  approvals?: ApprovalEvent[];
}

export interface ApprovalEvent {
  approval: string;
  event: string;
  at: string;
  by?: string;
  reason?: string;
}

export interface Piece {
  at_us: number;
  offset: number;
  bytes: number;
  text?: string;
  base64?: string;
}

export interface Body {
  bytes: number;
  whole: boolean;
  pieces: Piece[];
}

export interface Recording extends Exchange {
  who: {
    issuer: string;
    subject: string;
    owner: string | null;
    groups: string[];
    purpose: string | null;
    token: string | null;
  } | null;
  session_name: string;
  session_named_by: string;
  listener: string;
  peer: string | null;
  authority: string;
  headers: [string, string][];
  scheme?: string;
  response_headers: [string, string][];
  folded?: { more: number; since: string };
  ruling: {
    policy: string | null;
    place: string | null;
    reason: string | null;
    dry_runs: string[];
    predicates: [string, string, boolean][];
  } | null;
  secrets: string[];
  request: Body;
  response: Body;
  masks: Record<string, number>;
}

export interface ConfiguredSecret {
  name: string;
  kind: string;
  source: string;
  age_s: number | null;
  last_error: string | null;
  upstreams: string[];
}

export interface Status {
  version: string;
  pid: number;
  started: string;
  uptime_s: number;
  draining: boolean;
  config: { path: string | null; generation: number; loaded_at: string; last_reload_error: string | null };
  requests: { forwarded: number; refused: number; in_flight: number };
  limits: {
    connections: number;
    connections_max: number;
    memory_bytes: number;
    memory_max_bytes: number;
    hits: [string, number][];
  };
  audit: {
    dir: string;
    sequence: number;
    durable_sequence: number;
    signed_through: number;
    checkpoint_error: string | null;
    queue_depth: number;
    state: "starting" | "recording" | "failed";
    last_error: string | null;
    disk_bytes: number;
    disk_available_bytes: number;
    disk_full: boolean;
    removed_segment: number;
  };
  shards: { index: number; cpu: number | null; driver: string; connections: number; memory_bytes: number }[];
  listeners: {
    name: string;
    addr: string;
    tls: boolean;
    certificates: { names: string[]; serial: string; not_after: string; expires_s: number }[];
  }[];
  issuers: {
    name: string;
    issuer: string;
    ready: boolean;
    keys: number;
    age_s: number | null;
    last_error: string | null;
  }[];
  secrets: { name: string; source: string; age_s: number | null; last_error: string | null }[];
  upstreams: {
    name: string;
    host: string;
    addresses: string[];
    via: string | null;
    connections: {
      open: number;
      idle: number;
      waiting: number;
      connected: number;
      reused: number;
      failed: number;
      ejected: number;
    };
    last_error: string | null;
  }[];
}

/** The frame around all pages: where one may go, who one is, and whether the connection stands. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ask, json, onSignedOut, Problem, words } from "./api";
import { go, hrefOf, here, useKept, useKeys, usePath } from "./hooks";
import { Inert } from "./inert";
import { connect, useLive, type Live } from "./live";
import { Approvals } from "./pages/approvals";
import { Audit } from "./pages/audit";
import { Connections } from "./pages/connections";
import { Host } from "./pages/host";
import { Identity } from "./pages/identity";
import { Now } from "./pages/now";
import { PolicyPage } from "./pages/policy";
import { Replay } from "./pages/replay";
import { RequestPage } from "./pages/request";
import { Sessions } from "./pages/sessions";
import { Command, Dialog, Empty, Icon, Link } from "./parts";
import { useNotices } from "./notice";
import { may, Myself, type Role } from "./roles";
import type { Me } from "./types";

interface Page {
  path: string;
  name: string;
  icon: string;
  /** Without it nothing on the page would be answered. */
  role?: Role;
}

const PAGES: Page[] = [
  { path: "", name: "Now", icon: "now" },
  { path: "approvals", name: "Approvals", icon: "approvals", role: "approver" },
  { path: "sessions", name: "Sessions", icon: "sessions", role: "auditor" },
  { path: "policy", name: "Policy", icon: "policy", role: "viewer" },
  { path: "connections", name: "Connections", icon: "connections", role: "viewer" },
  { path: "identity", name: "Identity & secrets", icon: "identity", role: "viewer" },
  { path: "audit", name: "Audit", icon: "audit", role: "auditor" },
  { path: "host", name: "Host", icon: "host", role: "viewer" },
];

/** Who looks: nobody yet, nobody at all, or somebody. */
type Who = { state: "asking" } | { state: "out"; login: string } | { state: "in"; me: Me | null };

export function App(): JSX.Element {
  const who = useWho();
  if (who.state === "asking") return <div class="shell" aria-busy="true" />;
  if (who.state === "out") return <SignIn login={who.login} />;
  return (
    <Myself.Provider value={who.me}>
      <Frame me={who.me} />
    </Myself.Provider>
  );
}

function useWho(): Who {
  const [who, setWho] = useState<Who>({ state: "asking" });
  useEffect(() => {
    onSignedOut((login) => setWho({ state: "out", login }));
    const find = async () => {
      try {
        setWho({ state: "in", me: await json<Me>("/api/v1/me") });
      } catch (error) {
        // A gateway that knows no names still says what it may.
        if (error instanceof Problem && error.status === 401) return;
        setWho({ state: "in", me: null });
      }
    };
    void find();
  }, []);
  return who;
}

function Frame({ me }: { me: Me | null }): JSX.Element {
  const path = usePath();
  const live = useLive();
  const [help, setHelp] = useState(false);
  const approves = may(me, "approver");
  useEffect(() => {
    if (approves) connect();
  }, [approves]);
  const waiting = live.cards.filter((card) => card.state === "pending").length;
  const page = current(path);
  useEffect(() => {
    document.title = `${waiting > 0 ? `(${waiting}) ` : ""}${page?.name ?? "Request"} · ringward`;
  }, [waiting, page]);
  useEffect(() => window.scrollTo(0, 0), [path.split("/")[0]]);
  useKeys({
    "?": () => setHelp(true),
    g: () => go("approvals"),
  });
  return (
    <div class="shell">
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header class="side">
        <Link to="" class="brand">
          <Mark />
          <span>ringward</span>
        </Link>
        <nav aria-label="Pages">
          {PAGES.filter((one) => !one.role || may(me, one.role)).map((one) => (
            <Link key={one.path} to={one.path} current={one === page}>
              <Icon name={one.icon} />
              <span>{one.name}</span>
              {one.path === "approvals" && waiting > 0 && (
                <b class="count" aria-label={`${waiting} waiting`}>
                  {waiting}
                </b>
              )}
            </Link>
          ))}
        </nav>
        <Foot me={me} live={live} help={() => setHelp(true)} />
      </header>
      <main id="main" tabIndex={-1}>
        <LinkState live={live} />
        {page?.role && !may(me, page.role) ? (
          <Empty title="Not for your role">
            {page.name} is for the role {page.role}. Whoever runs the gateway gives it, under [admin.roles].
          </Empty>
        ) : (
          <Content path={path} />
        )}
      </main>
      {help && <Help close={() => setHelp(false)} />}
    </div>
  );
}

function current(path: string): Page | undefined {
  const first = path.split("/")[0] ?? "";
  return PAGES.find((page) => page.path === (first === "requests" ? "sessions" : first));
}

function Content({ path }: { path: string }): JSX.Element {
  const [page, id] = path.split("/").map(decodeURIComponent);
  if (page === "approvals") return <Approvals id={id ?? ""} />;
  if (page === "sessions") return id ? <Replay key={id} id={id} /> : <Sessions />;
  if (page === "requests" && id) return <RequestPage key={id} id={id} />;
  if (page === "policy") return <PolicyPage name={id ?? ""} />;
  if (page === "connections") return <Connections name={id ?? ""} />;
  if (page === "identity") return <Identity />;
  if (page === "audit") return <Audit />;
  if (page === "host") return <Host />;
  if (!page) return <Now />;
  return (
    <Empty title="There is no such page">
      <Link to="">Now</Link> shows what goes on.
    </Empty>
  );
}

function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d="M18.9 7.1a8.5 8.5 0 1 0 1.5 6.6" />
      <circle cx="12" cy="12" r="3.1" />
    </svg>
  );
}

const THEMES = ["auto", "light", "dark"];

function Foot({ me, live, help }: { me: Me | null; live: Live; help: () => void }): JSX.Element {
  const notices = useNotices(live);
  const [theme, setTheme] = useKept("theme", "auto");
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "auto";
  const roles = me?.roles.map((one) => one.role).join(", ");
  return (
    <footer>
      {may(me, "approver") && (
        <p class={`link link-${live.link}`} role="status">
          <i /> {LINKS[live.link]}
        </p>
      )}
      {me && (
        <p class="who" title={roles}>
          <Inert text={me.owner || me.subject || me.name} />
          {roles && <small>{roles}</small>}
        </p>
      )}
      <p class="foot-actions">
        <button type="button" class="quiet small" onClick={() => setTheme(next)} title={`Now: ${theme}`}>
          Theme: {theme}
        </button>
        {may(me, "approver") && notices.wanted && (
          <button
            type="button"
            class="quiet small"
            aria-pressed={notices.wanted === "on"}
            disabled={notices.wanted === "blocked"}
            onClick={notices.toggle}
            title="A notification of this browser when a request waits"
          >
            Notify: {notices.wanted}
          </button>
        )}
        <button type="button" class="quiet small" onClick={help} aria-keyshortcuts="?">
          Keys
        </button>
        {me?.login === "oidc" && (
          <button type="button" class="quiet small" onClick={() => void signOut()}>
            Sign out
          </button>
        )}
      </p>
    </footer>
  );
}

const LINKS: Record<Live["link"], string> = {
  connecting: "Connecting",
  open: "Live",
  lost: "Connection lost",
  refused: "Not live",
};

async function signOut() {
  try {
    await ask("/auth/logout", { method: "POST", json: {} });
  } finally {
    location.assign(hrefOf(""));
  }
}

function LinkState({ live }: { live: Live }): JSX.Element | null {
  if (live.link !== "lost") return null;
  return (
    <div class="banner" role="alert">
      <span>
        <b>Connection lost.</b> What you see may be old; it is tried again by itself.
      </span>
      <button type="button" onClick={connect}>
        Try now
      </button>
    </div>
  );
}

function SignIn({ login }: { login: string }): JSX.Element {
  const then = encodeURIComponent(hrefOf(here()));
  return (
    <main id="main" class="sign-in">
      <Mark />
      <h1>ringward</h1>
      {login ? (
        <>
          <p>Sign in to see what your agents do and to decide about what waits.</p>
          <a class="button primary" href={`${login}?then=${then}`}>
            Sign in
          </a>
        </>
      ) : (
        <>
          <p>This port has no login for browsers yet. Everything is in the terminal meanwhile:</p>
          <Command text="ringward approvals list" />
        </>
      )}
    </main>
  );
}

const KEYS: [string, string][] = [
  ["j, k", "next and previous card"],
  ["a", "approve the card that is shown; Enter confirms"],
  ["d", "deny it; a reason is asked for"],
  ["Esc", "back to the card"],
  ["Space", "play or pause a replay"],
  ["← →", "a second back or ahead in a replay"],
  ["g", "go to the approvals"],
  ["?", "this list"],
];

function Help({ close }: { close: () => void }): JSX.Element {
  return (
    <Dialog title="Keys" close={close}>
      <dl class="keys">
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

/** For a failure that nothing caught. */
export function Broken({ error }: { error: unknown }): JSX.Element {
  return (
    <main id="main" class="sign-in">
      <h1>This page failed</h1>
      <p>{words(error)}</p>
      <button type="button" onClick={() => location.reload()}>
        Load it again
      </button>
    </main>
  );
}

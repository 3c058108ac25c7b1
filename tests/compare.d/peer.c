// The two ends of a measurement, each one thread on epoll: an upstream that answers at once, and a load that
// counts. Both know just enough HTTP/1.1 for each other and for what stands between them. No TLS.
//
//   peer upstream PORT
//   peer load --to HOST:PORT --path PATH [options]     one line of JSON when it is done
//
// What the upstream answers is in the path; each answer is made once:
//   /bytes/N  /json/N  /chunked/N                      N bytes; the last in chunks of 16 KiB
//   /v1/messages?events=N&us=M                         an Anthropic stream, N deltas, one every M microseconds
//   /v1/chat/completions                               an OpenAI chat completion, which the load asks for as well
// A delta carries the time at which it was sent, spelt in letters so that no mask takes it for a number.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SCRATCH = 1 << 18, HEAD_MAX = 8192, CHUNK = 16384, SOURCES = 200, STAMP = 16 };
static char scratch[SCRATCH];
static int poller;

static void fail(const char *what) {
  fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void watch(int operation, int fd, uint32_t events, void *what) {
  struct epoll_event event = {.events = events, .data.ptr = what};
  if (epoll_ctl(poller, operation, fd, &event) < 0) fail("epoll_ctl");
}

// Waits until something happens or `until` (0: for ever).
static int wait_events(struct epoll_event *events, int count, uint64_t until) {
  struct timespec left = {0, 0};
  if (until) {
    uint64_t now = now_ns();
    if (until > now) {
      left.tv_sec = (time_t)((until - now) / 1000000000u);
      left.tv_nsec = (long)((until - now) % 1000000000u);
    }
  }
  int found = epoll_pwait2(poller, events, count, until ? &left : NULL, NULL);
  if (found < 0 && errno != EINTR) fail("epoll_pwait2");
  return found < 0 ? 0 : found;
}

static void begin(void) {
  struct rlimit files = {65536, 65536};
  if (setrlimit(RLIMIT_NOFILE, &files) < 0) {
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  prctl(PR_SET_TIMERSLACK, 1);
  if ((poller = epoll_create1(EPOLL_CLOEXEC)) < 0) fail("epoll_create1");
}

static void without_delay(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// ------------------------------------------------------------------------------------------------ upstream

struct answer {
  struct answer *next;
  char path[128];
  char *data;  // head and body; of a stream the head and its first events
  size_t length;
  int events;  // deltas of a stream
  uint64_t pause_ns;
};

struct served {
  int fd;
  size_t held;       // bytes of a request's head in `head`
  uint64_t body;     // bytes of a request's body that are still to come
  bool chunked;      // a request's body that ends with an empty chunk
  char tail[5];
  struct answer *answer;
  size_t sent;
  bool waits;        // for room to write
  int deltas;        // of a stream, sent so far
  uint64_t due;
  struct served *next, *before;  // of the streams
  char head[HEAD_MAX];
};

static struct answer *answers;
static struct served *streams;
static const char stream_start[] =
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\","
    "\"role\":\"assistant\",\"model\":\"claude\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"
    "\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n"
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
    "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
static const char stream_end[] =
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\","
    "\"stop_sequence\":null},\"usage\":{\"output_tokens\":50}}\n\n"
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
static const char *const words[] = {"the", "gateway", "answers", "every", "caller", "with", "what",
                                    "it",  "may",     "see",     "and",   "nothing", "else"};

static const char chat_path[] = "/v1/chat/completions";
static const char chat_answer[] =
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"small\",\"choices\":"
    "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"The gateway answers every caller.\","
    "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
    "\"usage\":{\"prompt_tokens\":25,\"completion_tokens\":6,\"total_tokens\":31}}";
static const char chat_open[] = "{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"";
static const char chat_close[] = "\"}]}";

// A question of `length` bytes, which has to have room for more than what stands around it.
static void chat_body(char *to, size_t length) {
  size_t end = length - (sizeof chat_close - 1);
  memcpy(to, chat_open, sizeof chat_open - 1);
  for (size_t at = sizeof chat_open - 1; at < end; at++) to[at] = at % 7 ? 'e' : ' ';
  memcpy(to + end, chat_close, sizeof chat_close - 1);
}

static void json_body(char *to, size_t length) {
  static const char open[] = "{\"items\":[", close[] = "\"}]}";
  size_t at = sizeof open - 1, word = 0;
  if (length < 40) {
    memset(to, ' ', length);
    memcpy(to, "{}", length < 2 ? length : 2);
    return;
  }
  memcpy(to, open, at);
  for (int row = 0; at + 400 < length; row++) {
    at += (size_t)sprintf(to + at, "{\"id\":%d,\"status\":\"open\",\"note\":\"", row);
    for (int i = 0; i < 12; i++) at += (size_t)sprintf(to + at, "%s ", words[word++ % 13]);
    at += (size_t)sprintf(to + at, "\",\"done\":false},");
  }
  at += (size_t)sprintf(to + at, "{\"note\":\"");
  while (at < length - (sizeof close - 1)) to[at] = at % 7 ? 'e' : ' ', at++;
  memcpy(to + at, close, sizeof close - 1);
}

static void make_answer(struct answer *a) {
  unsigned long long count = 0, pause = 0;
  char head[256];
  if (sscanf(a->path, "/v1/messages?events=%llu&us=%llu", &count, &pause) == 2) {
    a->events = (int)count, a->pause_ns = pause * 1000;
    a->data = malloc(2048);
    a->length = (size_t)sprintf(
        a->data,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
        "transfer-encoding: chunked\r\n\r\n%zx\r\n%s\r\n",
        sizeof stream_start - 1, stream_start);
    return;
  }
  const char *type = "application/octet-stream", *status = "200 OK";
  bool chunked = sscanf(a->path, "/chunked/%llu", &count) == 1, chat = !strcmp(a->path, chat_path);
  if (chat) {
    type = "application/json", count = sizeof chat_answer - 1;
  } else if (sscanf(a->path, "/json/%llu", &count) == 1) {
    type = "application/json";
  } else if (!chunked && sscanf(a->path, "/bytes/%llu", &count) != 1) {
    status = "404 Not Found";
  }
  char length[64];
  snprintf(length, sizeof length, chunked ? "transfer-encoding: chunked" : "content-length: %llu", count);
  int at = sprintf(head, "HTTP/1.1 %s\r\ncontent-type: %s\r\n%s\r\n\r\n", status, type, length);
  a->data = malloc((size_t)at + count + count / CHUNK * 16 + 64);
  memcpy(a->data, head, (size_t)at);
  char *to = a->data + at;
  if (!chunked) {
    if (chat) memcpy(to, chat_answer, count);
    else if (type[12] == 'j') json_body(to, count);
    else memset(to, 'x', count);
    a->length = (size_t)at + count;
    return;
  }
  while (count) {
    size_t part = count < CHUNK ? count : CHUNK;
    to += sprintf(to, "%zx\r\n", part);
    memset(to, 'x', part);
    to += part, count -= part;
    *to++ = '\r', *to++ = '\n';
  }
  memcpy(to, "0\r\n\r\n", 5);
  a->length = (size_t)(to + 5 - a->data);
}

static struct answer *find_answer(const char *path, size_t length) {
  for (struct answer *a = answers; a; a = a->next)
    if (strlen(a->path) == length && !memcmp(a->path, path, length)) return a;
  struct answer *a = calloc(1, sizeof *a);
  memcpy(a->path, path, length < sizeof a->path ? length : sizeof a->path - 1);
  make_answer(a);
  a->next = answers;
  return answers = a;
}

static void end_stream(struct served *c) {
  if (c->before) c->before->next = c->next; else streams = c->next;
  if (c->next) c->next->before = c->before;
  c->next = c->before = NULL;
}

static void hang_up(struct served *c) {
  if (c->answer && c->answer->events && c->due) end_stream(c);
  close(c->fd);
  free(c);
}

// Sends what of the answer the kernel takes. False: the connection is gone.
static bool send_answer(struct served *c) {
  struct answer *a = c->answer;
  while (c->sent < a->length) {
    ssize_t n = send(c->fd, a->data + c->sent, a->length - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) {
      if (!c->waits) watch(EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c), c->waits = true;
      return true;
    }
    if (n <= 0) return false;
    c->sent += (size_t)n;
  }
  if (c->waits) watch(EPOLL_CTL_MOD, c->fd, EPOLLIN, c), c->waits = false;
  if (!a->events) {
    c->answer = NULL;
  } else if (!c->due) {
    c->due = now_ns() + a->pause_ns;
    c->next = streams, c->before = NULL;
    if (streams) streams->before = c;
    streams = c;
  }
  return true;
}

// One delta as one chunk; after the last the end. Streams are small: a full socket is an error.
static bool send_delta(struct served *c) {
  char event[1024], chunk[1100], stamp[STAMP + 1];
  uint64_t now = now_ns();
  for (int i = 0; i < STAMP; i++) stamp[i] = (char)('a' + (now >> 4 * i) % 16);
  stamp[STAMP] = 0;
  int length, total;
  bool last = c->deltas == c->answer->events;
  if (last) {
    length = sprintf(event, "%s", stream_end);
  } else {
    length = sprintf(event,
                     "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
                     "\"delta\":{\"type\":\"text_delta\",\"text\":\" %s\"},\"t\":\"%s\"}\n\n",
                     words[c->deltas % 13], stamp);
  }
  total = sprintf(chunk, "%x\r\n%s\r\n%s", length, event, last ? "0\r\n\r\n" : "");
  if (send(c->fd, chunk, (size_t)total, MSG_NOSIGNAL) != total) return false;
  c->deltas++;
  c->due += c->answer->pause_ns;
  if (last) end_stream(c), c->answer = NULL, c->due = 0, c->deltas = 0;
  return true;
}

// Whether the whole request has come. -1: it cannot be understood.
static int take_request(struct served *c, const char *data, size_t n) {
  if (c->chunked) {
    for (size_t i = n > 5 ? n - 5 : 0; i < n; i++) memmove(c->tail, c->tail + 1, 4), c->tail[4] = data[i];
    return !memcmp(c->tail, "0\r\n\r\n", 5) ? (c->chunked = false, 1) : 0;
  }
  if (c->body) {
    if (n > c->body) return -1;
    c->body -= n;
    return c->body == 0;
  }
  if (c->held + n > HEAD_MAX - 1 && c->held) return -1;
  size_t kept = n < HEAD_MAX - 1 - c->held ? n : HEAD_MAX - 1 - c->held;
  memcpy(c->head + c->held, data, kept);
  c->held += kept;
  c->head[c->held] = 0;
  char *end = strstr(c->head, "\r\n\r\n");
  if (!end) return 0;
  char *path = strchr(c->head, ' '), *after = path ? strchr(path + 1, ' ') : NULL;
  if (!after) return -1;
  c->answer = find_answer(path + 1, (size_t)(after - path - 1));
  c->sent = 0;
  *end = 0;
  char *length = strcasestr(c->head, "\r\ncontent-length:");
  bool chunked = strcasestr(c->head, "\r\ntransfer-encoding:") != NULL;
  uint64_t declared = length ? strtoull(length + 17, NULL, 10) : 0;
  // Bytes of the body that came with the head; what did not fit into `head` is body too.
  size_t came = c->held - (size_t)(end + 4 - c->head) + (n - kept);
  c->held = 0;
  if (chunked) {
    c->chunked = true;
    memset(c->tail, 0, 5);
    return came ? take_request(c, data + n - came, came) : 0;
  }
  if (came > declared) return -1;
  c->body = declared - came;
  return c->body == 0;
}

static void serve_event(struct served *c, uint32_t events) {
  if (events & EPOLLIN) {
    ssize_t n = recv(c->fd, scratch, SCRATCH, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return hang_up(c);
    int whole = n < 0 ? 0 : take_request(c, scratch, (size_t)n);
    if (whole < 0 || (whole && !send_answer(c))) return hang_up(c);
  } else if (events & (EPOLLHUP | EPOLLERR)) {
    return hang_up(c);
  }
  if ((events & EPOLLOUT) && c->answer && !send_answer(c)) hang_up(c);
}

static _Noreturn void upstream(int port) {
  begin();
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (void *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) fail("listen");
  watch(EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
  struct epoll_event events[256];
  for (;;) {
    uint64_t until = 0;
    for (struct served *c = streams; c; c = c->next)
      if (!until || c->due < until) until = c->due;
    int count = wait_events(events, 256, until);
    for (int i = 0; i < count; i++) {
      if (events[i].data.ptr) {
        serve_event(events[i].data.ptr, events[i].events);
        continue;
      }
      int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) continue;
      without_delay(fd);
      struct served *c = calloc(1, sizeof *c);
      c->fd = fd;
      watch(EPOLL_CTL_ADD, fd, EPOLLIN, c);
    }
    uint64_t now = streams ? now_ns() : 0;
    for (struct served *c = streams, *next; c; c = next) {
      next = c->next;
      if (c->due <= now && !send_delta(c)) hang_up(c);
    }
  }
}

// ---------------------------------------------------------------------------------------------------- load

static struct {
  struct sockaddr_in to;
  const char *path, *method, *fields[16];
  int field_count, connections;
  double seconds, rate;
  uint64_t body, expect;
  bool close, once, idle;
} options = {.path = "/bytes/200", .method = "GET", .connections = 64, .seconds = 3};

enum framing { HEAD, LENGTH, SIZE, DATA, DATA_END, TRAILER };

struct caller {
  int fd;
  bool busy, waits;
  size_t sent;
  uint64_t intended;
  enum framing framing;
  size_t held;
  uint64_t left, body;
  bool line;  // something stands in the current line of the trailer or the chunk size
  size_t tail_held;
  char tail[64];  // the end of a piece of a stream, in which a stamp may begin
  char head[HEAD_MAX];
};

static char *request;
static size_t request_bytes;
static struct {
  uint64_t requests, errors, body_bytes, events;
} total;
static struct samples {
  uint32_t *tenths;  // of a microsecond
  size_t count, room;
} latencies, delays;
static int connection_count;

static void sample(struct samples *s, uint64_t ns) {
  if (s->count == s->room) s->tenths = realloc(s->tenths, (s->room = s->room ? s->room * 2 : 65536) * 4);
  s->tenths[s->count++] = ns / 100 > UINT32_MAX ? UINT32_MAX : (uint32_t)(ns / 100);
}

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static void print_samples(const char *name, struct samples *s) {
  qsort(s->tenths, s->count, 4, ascending);
  double p50 = s->count ? s->tenths[s->count / 2] / 10.0 : 0;
  double p99 = s->count ? s->tenths[s->count * 99 / 100] / 10.0 : 0;
  printf(",\"%s_p50_us\":%.1f,\"%s_p99_us\":%.1f", name, p50, name, p99);
}

// A new connection, from one of many addresses of the loopback: one has ports for 28,000 connections a minute.
static bool dial(struct caller *c) {
  struct sockaddr_in from = {.sin_family = AF_INET};
  from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(connection_count++ % SOURCES));
  int on = 1;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->fd < 0) fail("socket");
  setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (bind(c->fd, (void *)&from, sizeof from) < 0) fail("bind");
  if (connect(c->fd, (void *)&options.to, sizeof options.to) < 0) {
    close(c->fd);
    c->fd = -1;
    return false;
  }
  without_delay(c->fd);
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  watch(EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
  c->waits = false;
  return true;
}

static void push(struct caller *c) {
  while (c->sent < request_bytes) {
    ssize_t n = send(c->fd, request + c->sent, request_bytes - c->sent, MSG_NOSIGNAL);
    if (n < 0) break;  // full, or gone: then the read says so
    c->sent += (size_t)n;
  }
  bool waits = c->sent < request_bytes;
  if (waits != c->waits) watch(EPOLL_CTL_MOD, c->fd, EPOLLIN | (waits ? EPOLLOUT : 0), c), c->waits = waits;
}

static bool ask(struct caller *c, uint64_t intended) {
  c->intended = intended;
  if (c->fd < 0 && !dial(c)) {
    total.errors++;
    return false;
  }
  c->busy = true;
  c->sent = c->held = c->tail_held = 0;
  c->body = 0;
  c->framing = HEAD;
  push(c);
  return true;
}

static void see_stamps(struct caller *c, const char *data, size_t n) {
  static const char mark[] = "\"t\":\"";
  char joined[128];
  const char *texts[2] = {joined, data};
  size_t lengths[2], more = n < sizeof joined - c->tail_held ? n : sizeof joined - c->tail_held;
  memcpy(joined, c->tail, c->tail_held);
  memcpy(joined + c->tail_held, data, more);
  lengths[0] = c->tail_held ? c->tail_held + more : 0, lengths[1] = n;
  uint64_t now = now_ns();
  for (int i = 0; i < 2; i++) {
    const char *at = texts[i], *end = at + lengths[i], *found;
    while (at < end && (found = memmem(at, (size_t)(end - at), mark, 5)) && found + 5 + STAMP < end) {
      at = found + 5;
      // In the joined text only those that begin in the tail: the others are seen in the piece itself.
      if (i == 0 && found >= joined + c->tail_held) break;
      uint64_t sent = 0;
      for (int digit = 0; digit < STAMP; digit++) sent |= (uint64_t)(at[digit] - 'a') << 4 * digit;
      sample(&delays, now - sent);
      total.events++;
    }
  }
  // Keep so little that no stamp is seen twice: less than a whole one.
  enum { KEEP = 5 + STAMP };
  if (n >= KEEP) {
    memcpy(c->tail, data + n - KEEP, KEEP), c->tail_held = KEEP;
  } else {
    size_t all = c->tail_held + n, drop = all > KEEP ? all - KEEP : 0;
    memmove(c->tail, c->tail + drop, c->tail_held - (drop < c->tail_held ? drop : c->tail_held));
    size_t stay = drop < c->tail_held ? c->tail_held - drop : 0;
    memcpy(c->tail + stay, data, n), c->tail_held = stay + n;
  }
}

// Takes a piece of an answer. 1: it is complete, 0: more is to come, -1: it is wrong.
static int take_answer(struct caller *c, const char *data, size_t n) {
  const char *end = data + n;
  if (c->framing == HEAD) {
    size_t kept = n < HEAD_MAX - 1 - c->held ? n : HEAD_MAX - 1 - c->held, before = c->held;
    memcpy(c->head + c->held, data, kept);
    c->held += kept, c->head[c->held] = 0;
    char *over = strstr(c->head, "\r\n\r\n");
    if (!over) return c->held == HEAD_MAX - 1 ? -1 : 0;
    *over = 0;
    if (strncmp(c->head, "HTTP/1.1 200", 12)) return -1;
    data += (size_t)(over + 4 - c->head) - before;
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    if (!length && !strcasestr(c->head, "\r\ntransfer-encoding: chunked")) return -1;
    c->framing = length ? LENGTH : SIZE;
    c->left = length ? strtoull(length + 17, NULL, 10) : 0;
    c->line = false;
    if (length && !c->left) return data == end;
  }
  while (data < end) {
    uint64_t part = c->left < (uint64_t)(end - data) ? c->left : (uint64_t)(end - data);
    switch (c->framing) {
    case LENGTH:
    case DATA:
      c->body += part, c->left -= part;
      if (c->framing == DATA && options.once) see_stamps(c, data, part);
      data += part;
      if (c->left) break;
      if (c->framing == LENGTH) return data == end ? 1 : -1;
      c->framing = DATA_END;
      break;
    case DATA_END:
      if (*data++ == '\n') c->framing = SIZE, c->left = 0;
      break;
    case SIZE:
      if (*data == '\n') {
        c->framing = c->left ? DATA : TRAILER, c->line = false;
      } else if (*data != '\r') {
        int digit = *data <= '9' ? *data - '0' : (*data | 32) - 'a' + 10;
        if (digit < 0 || digit > 15) return -1;
        c->left = c->left * 16 + (uint64_t)digit;
      }
      data++;
      break;
    default:
      if (*data == '\n') {
        if (!c->line) return data + 1 == end ? 1 : -1;
        c->line = false;
      } else if (*data != '\r') {
        c->line = true;
      }
      data++;
    }
  }
  return 0;
}

static void lose(struct caller *c) {
  close(c->fd);
  c->fd = -1;
  c->busy = false;
}

// Reads once. True: the caller is free again.
static bool hear(struct caller *c, uint32_t events) {
  if (events & EPOLLOUT) push(c);
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return false;
  ssize_t n = recv(c->fd, scratch, SCRATCH, 0);
  if (n < 0 && errno == EAGAIN) return false;
  int state = n > 0 && c->busy ? take_answer(c, scratch, (size_t)n) : -1;
  if (state == 0) return false;
  bool was_busy = c->busy, wrong = state < 0 || (options.expect && c->body != options.expect);
  if (wrong) {
    // A kept connection that the other side closes between two requests is no error.
    total.errors += was_busy;
    lose(c);
    return was_busy;
  }
  total.requests++, total.body_bytes += c->body;
  sample(&latencies, now_ns() - c->intended);
  c->busy = false;
  if (options.close) lose(c);
  return true;
}

static void make_request(void) {
  request = malloc(options.body + HEAD_MAX);
  size_t at = (size_t)sprintf(request, "%s %s HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n", options.method,
                              options.path);
  for (int i = 0; i < options.field_count; i++) at += (size_t)sprintf(request + at, "%s\r\n", options.fields[i]);
  if (options.close) at += (size_t)sprintf(request + at, "connection: close\r\n");
  if (options.body) {
    at += (size_t)sprintf(request + at, "content-type: application/json\r\ncontent-length: %llu\r\n",
                          (unsigned long long)options.body);
  }
  at += (size_t)sprintf(request + at, "\r\n");
  if (options.body) {
    bool chat = !strcmp(options.path, chat_path) && options.body > 100;
    (chat ? chat_body : json_body)(request + at, options.body);
  }
  request_bytes = at + options.body;
}

static void arguments(int count, char **all) {
  for (int i = 0; i + 1 < count; i += 2) {
    const char *name = all[i], *value = all[i + 1];
    char host[64];
    int port;
    if (!strcmp(name, "--to") && sscanf(value, "%63[^:]:%d", host, &port) == 2) {
      options.to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
      inet_pton(AF_INET, host, &options.to.sin_addr);
    } else if (!strcmp(name, "--path")) options.path = value;
    else if (!strcmp(name, "--method")) options.method = value;
    else if (!strcmp(name, "--header") && options.field_count < 16) options.fields[options.field_count++] = value;
    else if (!strcmp(name, "--connections")) options.connections = atoi(value);
    else if (!strcmp(name, "--seconds")) options.seconds = atof(value);
    else if (!strcmp(name, "--rate")) options.rate = atof(value);
    else if (!strcmp(name, "--body")) options.body = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--expect")) options.expect = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--close")) options.close = atoi(value);
    else if (!strcmp(name, "--once")) options.once = atoi(value);
    else if (!strcmp(name, "--idle")) options.idle = atoi(value), options.once = true;
    else errno = EINVAL, fail(name);
  }
}

// Open loop: request k is meant for second k/rate, whatever the answers do. A request that finds no free
// connection waits, and its latency counts from when it was meant.
static void open_loop(struct caller *all, struct epoll_event *events) {
  struct caller **free_ones = calloc((size_t)options.connections, sizeof *free_ones);
  int first = 0, free_count = 0;
  for (int i = 0; i < options.connections; i++) free_ones[free_count++] = &all[i];
  uint64_t start = now_ns() + 1000000, next = 0, planned = (uint64_t)(options.seconds * options.rate);
  uint64_t patience = start + (uint64_t)((options.seconds + 30) * 1e9);
  while (total.requests + total.errors < planned && now_ns() < patience) {
    uint64_t due = start + (uint64_t)((double)next * 1e9 / options.rate);
    while (next < planned && free_count && due <= now_ns()) {
      struct caller *c = free_ones[first];
      first = (first + 1) % options.connections, free_count--;
      if (!ask(c, due)) free_ones[(first + free_count++) % options.connections] = c;
      due = start + (uint64_t)((double)++next * 1e9 / options.rate);
    }
    int count = wait_events(events, 256, next < planned && free_count ? due : patience);
    for (int i = 0; i < count; i++) {
      struct caller *c = events[i].data.ptr;
      if (hear(c, events[i].events)) free_ones[(first + free_count++) % options.connections] = c;
    }
  }
  total.errors += planned - total.requests - total.errors;
}

// Closed loop: each connection asks again as soon as it has its answer; with `--once` only once, and with
// `--idle` at most 64 at a time.
static void closed_loop(struct caller *all, struct epoll_event *events) {
  uint64_t start = now_ns(), end = start + (uint64_t)(options.seconds * 1e9);
  int begun = 0, busy = 0, at_once = options.idle ? 64 : options.connections;
  for (bool over = false; !over;) {
    while (begun < options.connections && busy < at_once && now_ns() < end) busy += ask(&all[begun++], now_ns());
    int count = busy ? wait_events(events, 256, end + 5000000000u) : 0;
    if (busy && !count) {
      total.errors += (uint64_t)busy;
      return;
    }
    uint64_t now = now_ns();
    for (int i = 0; i < count; i++) {
      struct caller *c = events[i].data.ptr;
      if (hear(c, events[i].events)) busy -= options.once || now >= end || !ask(c, now_ns());
    }
    over = !busy && (begun == options.connections || now >= end);
  }
}

static int load(int count, char **all) {
  arguments(count, all);
  begin();
  make_request();
  struct caller *callers = calloc((size_t)options.connections, sizeof *callers);
  for (int i = 0; i < options.connections; i++) callers[i].fd = -1;
  struct epoll_event events[256];
  uint64_t start = now_ns();
  if (options.rate > 0) open_loop(callers, events); else closed_loop(callers, events);
  double seconds = (double)(now_ns() - start) / 1e9;
  printf("{\"requests\":%llu,\"errors\":%llu,\"body_bytes\":%llu,\"events\":%llu,\"seconds\":%.3f",
         (unsigned long long)total.requests, (unsigned long long)total.errors,
         (unsigned long long)total.body_bytes, (unsigned long long)total.events, seconds);
  print_samples("latency", &latencies);
  print_samples("delay", &delays);
  printf("}\n");
  fflush(stdout);
  // The connections stay open until the other side of standard input is closed.
  if (options.idle) while (read(0, scratch, 1) > 0) {}
  return 0;
}

int main(int count, char **all) {
  if (count == 3 && !strcmp(all[1], "upstream")) upstream(atoi(all[2]));
  if (count > 2 && !strcmp(all[1], "load")) return load(count - 2, all + 2);
  fprintf(stderr, "usage: peer upstream PORT | peer load --to HOST:PORT --path PATH [options]\n");
  return 2;
}

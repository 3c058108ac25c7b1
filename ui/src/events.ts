/** Server-sent events out of text as it comes. */

/** One event of a stream (WHATWG HTML, section 9.2.6). */
export interface Event {
  id: string;
  name: string;
  data: string;
}

/** Takes events out of text as it comes; comments and pings give none. */
export class EventReader {
  private rest = "";
  constructor(public id: string) {}

  push(text: string): Event[] {
    const events: Event[] = [];
    const blocks = (this.rest + text).split(/\r\n\r\n|\n\n/);
    this.rest = blocks.pop() ?? "";
    for (const block of blocks) {
      let name = "message";
      const data: string[] = [];
      for (const line of block.split(/\r\n|\n/)) {
        const colon = line.indexOf(":");
        const field = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (field === "id") this.id = value;
        else if (field === "event") name = value;
        else if (field === "data") data.push(value);
      }
      if (data.length > 0) events.push({ id: this.id, name, data: data.join("\n") });
    }
    return events;
  }
}

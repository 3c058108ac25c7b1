import { Component, render, type ComponentChildren } from "preact";
import { App, Broken } from "./app";
import "./style/tokens.css";
import "./style/base.css";
import "./style/frame.css";
import "./style/parts.css";
import "./style/replay.css";
import "./style/pages.css";

/** A page that fails says so instead of going blank. */
class Guard extends Component<{ children: ComponentChildren }, { error: unknown }> {
  state = { error: undefined as unknown };

  componentDidCatch(error: unknown) {
    this.setState({ error });
  }

  render() {
    return this.state.error === undefined ? this.props.children : <Broken error={this.state.error} />;
  }
}

const root = document.getElementById("app");
if (root) {
  render(
    <Guard>
      <App />
    </Guard>,
    root,
  );
}

// The entry: every behaviour is a module that listens on the document, so that swapped-in HTML needs no set-up.
import "./announce.js";
import "./copy.js";
import "./dialog.js";
import "./dismiss.js";
import "./menu.js";
import "./poll.js";
import "./theme.js";

//! Feature scripts: lines and the replies that they must get, through a whole simulated node.

mod runner;

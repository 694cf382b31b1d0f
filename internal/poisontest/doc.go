// Package poisontest holds the test that messages which kill their process are found
// among thousands that do not, by the real supervisor and the real commands.
package poisontest

/*
 * rule_begin.h
 *		Having rules begin that were made or enabled.
 */
#ifndef ATLAS_RULE_BEGIN_H
#define ATLAS_RULE_BEGIN_H

/*
 * Goes on with it. Inside SPI_connect(), as the owner of the extension, in a transaction of the
 * caller's, which is to end soon. Returns true if there is more to do at once, and false if there is
 * nothing to do, or if others must end what they do first.
 */
extern bool atlas_rules_begin(void);

#endif							/* ATLAS_RULE_BEGIN_H */

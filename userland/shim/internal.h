/*
 * What the files of the shim share: the headers of libzpool in the order that
 * compiles with every version, the checks of names, and lists.
 */
#ifndef ZS_INTERNAL_H
#define	ZS_INTERNAL_H

#include <sys/zfs_context.h>
#include <sys/fs/zfs.h>
#include <sys/spa.h>
#include <sys/dmu.h>
#include <sys/dmu_objset.h>
#include <sys/dmu_tx.h>
#include <sys/dsl_dataset.h>
#include <sys/dsl_dir.h>
#include <sys/dsl_pool.h>
#include <sys/dsl_prop.h>
#include <sys/txg.h>
#include <sys/zap.h>

#include "zpool_shim.h"

#if !defined(ZS_VERSION)
#error "ZS_VERSION is the version of the headers: 2.3.2 is 20302"
#endif

/*
 * Older versions take these names without const, and change none; and they
 * have one number for user properties and for bad ones.
 */
#if ZS_VERSION < 20200
#define	ZS_NAME(name)	((char *)(uintptr_t)(name))
#define	ZPROP_USERPROP	ZPROP_INVAL
#else
#define	ZS_NAME(name)	(name)
#endif

/* The objects of a volume: its data, and the ZAP that has its size. */
#define	ZS_VOLUME_DATA	1ULL
#define	ZS_VOLUME_ZAP	2ULL

/* ---- names.c ---- */

/* Checks return 0 or EINVAL. */
/* A dataset, or the hidden child of a partial receive (`fs/%recv`). */
int zs_check_dataset_or_receive(const char *name);
int zs_check_snapshot(const char *name);
int zs_check_bookmark(const char *name);
int zs_check_short(const char *name);

/* ENOENT if there is no such dataset or snapshot. */
int zs_exists(const char *name);

/* Names as the keys of a list, all checked by `check`. */
int zs_list(zs_names_t names, int (*check)(const char *), nvlist_t **list);
/* Reports the numbers of `list`, whatever their type. */
void zs_report(nvlist_t *list, zs_items_t items);

/* ---- property.c ---- */

/* Those that may only be set when the data is there: before or after it. */
typedef enum zs_phase {
	ZS_BEFORE_DATA,
	ZS_AFTER_DATA,
	ZS_ANY_PHASE
} zs_phase_t;

int zs_set_from(const char *dataset, zprop_source_t source,
    zs_properties_t properties, zs_phase_t phase, zs_items_t refused);

/* ---- dataset.c ---- */

int zs_set_volume_size(const char *name, uint64_t bytes);

#endif /* ZS_INTERNAL_H */

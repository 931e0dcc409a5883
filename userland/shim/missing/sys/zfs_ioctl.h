/*
 * In the place of a header that is not installed with the others, though they
 * include it: the few types by which they mean its records, without content.
 * The last in the search order, so a real one is taken where there is one.
 */
#ifndef ZS_MISSING_ZFS_IOCTL_H
#define	ZS_MISSING_ZFS_IOCTL_H

typedef struct dmu_replay_record dmu_replay_record_t;
typedef struct dmu_objset_stats dmu_objset_stats_t;
typedef struct zinject_record zinject_record_t;

#endif /* ZS_MISSING_ZFS_IOCTL_H */
